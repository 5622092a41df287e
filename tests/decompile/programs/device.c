#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("cgroup/dev") int devices(struct bpf_cgroup_dev_ctx *ctx) {
  if ((ctx->access_type & 0xffff) == BPF_DEVCG_DEV_CHAR && ctx->major == 1 && (ctx->minor == 3 || ctx->minor == 5)) return 1;
  if (ctx->major == 5 && ctx->minor < 3) return 1;
  return 0;
}
char _license[] SEC("license") = "GPL";
