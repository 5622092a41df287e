#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
SEC("cgroup/connect4") int deny(struct bpf_sock_addr *ctx) {
  if (ctx->user_port == bpf_htons(25)) return 0;
  if ((ctx->user_ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x0a000000) && (bpf_get_current_uid_gid() & 0xffffffff) != 0) return 0;
  return 1;
}
char _license[] SEC("license") = "GPL";
