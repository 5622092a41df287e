"""Equal programs are proved, different ones never: small pairs for each rule that a proof rests on."""

from __future__ import annotations

import pytest

import needs
from execute.symbolic.compile_pairs import HEAD, check, compare, compiled, function_of, object_of

PACKET = """
  void *d = (void *)(long)ctx->data, *e = (void *)(long)ctx->data_end;
  struct ethhdr *h = d; struct iphdr *ip = (void *)(h + 1);
  if ((void *)(ip + 1) > e) return XDP_PASS;
"""
WHOLE = (
    HEAD
    + """
static __attribute__((noinline)) int mix(int x, int y) { return x * y + 3; }
SEC("xdp") int f(struct xdp_md *ctx) {
  void *d = (void*)(long)ctx->data, *e = (void*)(long)ctx->data_end;
  struct ethhdr *h = d; if ((void*)(h+1) > e) return XDP_PASS;
  if (h->h_proto != bpf_htons(0x800)) return XDP_PASS;
  struct iphdr *ip = (void*)(h+1); if ((void*)(ip+1) > e) return XDP_DROP;
  __u32 k = ip->saddr; __u64 *v = bpf_map_lookup_elem(&m, &k);
  if (!v) { __u64 one = 1; bpf_map_update_elem(&m, &k, &one, 0); return XDP_PASS; }
  __sync_fetch_and_add(v, 1);
  int s = 0; for (int i = 0; i < 5; i++) s += mix(i, ip->ttl);
  bpf_printk("hello %d %llx", s, *v);
  if (ip->protocol == IPPROTO_UDP) { ip->ttl--; bpf_tail_call(ctx, &jumps, s & 1); }
  return *v > 100 ? XDP_DROP : s & 1 ? XDP_TX : XDP_PASS; }
"""
)


@pytest.mark.parametrize("flags", [("-O1", "-mcpu=v1"), ("-O2", "-mcpu=v2"), ("-O1", "-mcpu=v3"), ("-O2", "-mcpu=v3")])
def test_one_source_compiled_in_two_ways_is_equal(flags: tuple[str, ...]) -> None:
    result = check(compiled(WHOLE, "-O2", "-mcpu=v1"), compiled(WHOLE, *flags))

    assert result.grade == "proved", result
    assert result.functions[0] == ("f", "mix")
    assert "runs of the evaluator" in result.checked_by
    assert any("verifier" in text or "kernel accepts" in text for text in result.assumptions)


EQUAL = {
    "byte order": (PACKET + "return ip->tot_len == bpf_htons(20);", PACKET + "return bpf_ntohs(ip->tot_len) == 20;"),
    "masks": (PACKET + "return ip->ihl;", PACKET + "return *(__u8 *)ip % 16;"),
    "branches in another order": (
        PACKET + "if (ip->ttl == 1) return 1; if (ip->protocol == 6) return 2; return 3;",
        PACKET + "return ip->ttl == 1 ? 1 : ip->protocol != 6 ? 3 : 2;",
    ),
    "an index by shifts": (PACKET + "return ip->ttl * 8;", PACKET + "return ip->ttl << 3;"),
    "a map by its key's contents": (
        "__u32 k = 5; __u64 *v = bpf_map_lookup_elem(&m, &k); return v ? *v : 1;",
        "struct { __u32 pad, k; } x = { 1, 5 }; __u64 *v = bpf_map_lookup_elem(&m, &x.k); if (!v) return 1; return *v;",
    ),
    "a copy from another place of the stack": (
        "volatile long a[2] = {1, ctx->rx_queue_index}; long b = 0; bpf_probe_read_kernel(&b, 8, (void *)&a[1]); return b;",
        "volatile long z = ctx->rx_queue_index; long b = 0; bpf_probe_read_kernel(&b, 8, (void *)&z); return b;",
    ),
    "a 32-bit argument": ("return bpf_redirect(7, 0);", "return bpf_redirect(7ULL, 0);"),
}
DIFFERENT = {
    "constant": ("return 1;", "return 2;"),
    "field": (PACKET + "return ip->ttl;", PACKET + "return ip->tos;"),
    "condition": (PACKET + "return ip->ttl < 64;", PACKET + "return ip->ttl <= 64;"),
    "sign": (PACKET + "return (int)ip->saddr < 5;", PACKET + "return ip->saddr < 5u;"),
    "width of a store": (PACKET + "ip->tos = 0; return 1;", PACKET + "*(__u16 *)&ip->tos = 0; return 1;"),
    "effect": ("__u32 k = 1; __u64 v = 1; bpf_map_update_elem(&m, &k, &v, 0); return 1;", "return 1;"),
    "key": (
        "__u32 k = 1; __u64 *v = bpf_map_lookup_elem(&m, &k); return v ? *v : 1;",
        "__u32 k = 2; __u64 *v = bpf_map_lookup_elem(&m, &k); return v ? *v : 1;",
    ),
    "bounds of the packet": (PACKET + "return 1;", PACKET.replace("ip + 1", "ip + 2") + "return 1;"),
}
TAIL_CALLED = "static __attribute__((noinline)) int t(struct xdp_md *ctx) { bpf_tail_call(ctx, &jumps, 1); return 1; }@@"
HEADLESS = "static long cb(__u32 i, void **c) { bpf_xdp_adjust_head(*c, 4); return 0; }@@ void *c = ctx;"
RELOADED = "d = (void *)(long)ctx->data; e = (void *)(long)ctx->data_end; if (d + 34 > e) return 5;"
# Equal but for something that a careless rule would miss; none of them may be proved.
TRAPS = {
    "a buffer that the helper may leave as it was": (
        "char b[8] = {1}; bpf_probe_read_kernel_str(b, 8, (void *)0x1000); return b[7];",
        "char b[8] = {1,1,1,1,1,1,1,1}; bpf_probe_read_kernel_str(b, 8, (void *)0x1000); return b[7];",
    ),
    "a copy of other bytes of the stack": (
        "volatile long a[2] = {1, ctx->rx_queue_index}; long b = 0; bpf_probe_read_kernel(&b, 8, (void *)&a[1]); return b;",
        "volatile long a[2] = {1, ctx->rx_queue_index}; long b = 0; bpf_probe_read_kernel(&b, 8, (void *)&a[0]); return b;",
    ),
    "a copy within the stack that overlaps": (
        "volatile int a[6] = {ctx->rx_queue_index, 2, 3, 4, 5}; bpf_probe_read_kernel((void *)&a[1], 16, (void *)a); return a[4];",
        "volatile int a[6] = {ctx->rx_queue_index, 2, 3, 4, 5}, c[6] = {ctx->rx_queue_index, 2, 3, 4, 5};"
        "bpf_probe_read_kernel((void *)&a[1], 16, (void *)c); return a[4];",
    ),
    "two values of one array": (
        "__u32 a = 1, b = 2; __u64 *x = bpf_map_lookup_elem(&arr, &a), *y = bpf_map_lookup_elem(&arr, &b);"
        "if (!x || !y) return 0; *x = 1; *y = 2; return *x;",
        "__u32 a = 1, b = 2; __u64 *x = bpf_map_lookup_elem(&arr, &a), *y = bpf_map_lookup_elem(&arr, &b);"
        "if (!x || !y) return 0; *x = 1; *y = 2; return 1;",
    ),
    "a tail call in a subprogram": (
        'static __attribute__((noinline)) int t(struct xdp_md *ctx) { bpf_tail_call(ctx, &jumps, 1); return 1; }@@ t(ctx); return 2;',
        "bpf_tail_call(ctx, &jumps, 1); return 2;",
    ),
    "atomic and plain": (
        "__u32 k = 1; __u64 *v = bpf_map_lookup_elem(&m, &k); if (v) __sync_fetch_and_add(v, 1); return 1;",
        "__u32 k = 1; __u64 *v = bpf_map_lookup_elem(&m, &k); if (v) *v += 1; return 1;",
    ),
    "a reload after a change of the packet": (
        PACKET + "if (bpf_xdp_adjust_head(ctx, 0)) return 0; d = (void *)(long)ctx->data; e = (void *)(long)ctx->data_end;"
        "return d + 34 <= e;",
        PACKET + "if (bpf_xdp_adjust_head(ctx, 0)) return 0; return 1;",
    ),
    "read-only data": (
        "static const volatile int limit = 5;@@ return limit;",
        "static const volatile int limit = 6;@@ return limit;",
    ),
    "initial data": ("int limit = 5;@@ return limit;", "int limit = 6;@@ return limit;"),
    "variables that changed places": ("volatile int a, b;@@ return a;", "volatile int b, a;@@ return b;"),
    "a reload after a tail call in a subprogram, which may have changed the packet": (
        TAIL_CALLED + PACKET + "t(ctx);" + RELOADED + "return 7;", TAIL_CALLED + PACKET + "t(ctx); return 7;",
    ),
    "a reload after a callback, which changes the packet": (
        HEADLESS + PACKET + "bpf_loop(1, cb, &c, 0);" + RELOADED + "return 7;", HEADLESS + PACKET + "bpf_loop(1, cb, &c, 0); return 7;",
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_programs_are_proved(name: str) -> None:
    result = compare(*EQUAL[name])

    assert result.grade == "proved", result


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_programs_are_never_proved(name: str) -> None:
    result = compare(*DIFFERENT[name])

    assert result.grade == "different", result
    assert result.difference is not None and result.difference.confirmed_by


@pytest.mark.parametrize("name", TRAPS)
def test_what_only_looks_equal_is_not_proved(name: str) -> None:
    assert compare(*TRAPS[name]).grade != "proved"


def test_a_loaded_pointer_that_may_be_null_is_loaded_from() -> None:
    """The kernel gives 0 for a load at a null pointer of a kernel type: the choice of null counts."""
    before = "struct t { struct t *next; int v; };@@ struct t *p = *(struct t **)ctx, *n = p->next;"
    choice = before + 'if (p->v) n = 0; asm volatile("" : "+r"(n)); return n->v;'

    assert compare(choice, before + "return n->v;", "tp_btf/x").grade == "different"
    assert compare(choice, before + 'n = p->v ? 0 : n; asm volatile("" : "+r"(n)); return n->v;', "tp_btf/x").proved


def test_a_context_that_is_written_is_not_seen_by_another_pointer() -> None:
    """bpf_cast_to_kern_ctx() gives the sk_buff itself, whose mark is that of the context."""
    before = "struct sk_buff { int mark; }; extern struct sk_buff *bpf_cast_to_kern_ctx(void *) __ksym;@@"
    before += "struct sk_buff *s = bpf_cast_to_kern_ctx(ctx);"
    later = before + "ctx->mark = 5; return s->mark;"
    sooner = before + 'int r = s->mark; asm volatile("" : "+r"(r)); ctx->mark = 5; return r;'

    assert compare(later, sooner, "tc", "__sk_buff").reason.startswith("context")


ORDERS = {
    "two stores in the other order, at addresses that may be the same": (
        "__u32 a = 1, b = ctx->rx_queue_index; __u64 *x = bpf_map_lookup_elem(&arr, &a), *y = bpf_map_lookup_elem(&arr, &b);"
        "if (!x || !y) return 0; {0} return 1;",
        "*(volatile __u8 *)x = 7; *(volatile __u8 *)y = 7;",
        "*(volatile __u8 *)y = 7; *(volatile __u8 *)x = 7;",
        True,
    ),
    "the same with other values": (
        "__u32 a = 1, b = ctx->rx_queue_index; __u64 *x = bpf_map_lookup_elem(&arr, &a), *y = bpf_map_lookup_elem(&arr, &b);"
        "if (!x || !y) return 0; {0} return 1;",
        "*(volatile __u8 *)x = 7; *(volatile __u8 *)y = 8;",
        "*(volatile __u8 *)y = 8; *(volatile __u8 *)x = 7;",
        False,
    ),
    "a constant index where the index has that value": (
        "__u32 a = 1, i = ctx->rx_queue_index; __u8 *x = bpf_map_lookup_elem(&arr, &a); if (!x) return 0; {0} return 1;",
        "if (i == 3) *(volatile __u8 *)(x + 3) = 1; else if (i < 32) x[i] = 2;",
        'if (i < 32) {{ asm volatile("" : "+r"(i)); if (i != 3) x[i] = 2; else x[i] = 1; }}',
        True,
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_memories_are_equal_where_every_byte_is(name: str) -> None:
    body, one, two, equal = ORDERS[name]

    result = compare(body.format(one), body.format(two))

    assert result.proved is equal, result


def test_calls_are_compared_where_they_are_made() -> None:
    """That x is 2 or 10 where the call is made decides between x == 10 and x != 2 in its argument."""
    before = "__u32 x = ctx->rx_queue_index, k; if (x != 2 && x != 10) return 0; "
    after = " bpf_map_delete_elem(&m, &k); return 1;"

    assert compare(before + "k = x == 10 ? 5 : 9;" + after, before + 'asm volatile("" : "+r"(x)); k = x != 2 ? 5 : 9;' + after).proved
    assert not compare(before + "k = x == 10 ? 5 : 9;" + after, before + "k = x == 2 ? 5 : 9;" + after).proved


def test_calls_that_are_never_made_together_are_no_pair() -> None:
    """What one of them would be given agrees with the other's only because no input makes both."""
    before = "__u32 x = ctx->rx_queue_index, k = 5, l = 9; "
    one = "if (x == 2) bpf_map_delete_elem(&m, &k); if (x == 10) bpf_map_delete_elem(&m, &l); return 1;"
    two = "if (x == 2) bpf_map_delete_elem(&m, &l); if (x == 10) bpf_map_delete_elem(&m, &k); return 1;"

    assert not compare(before + one, before + two).proved
    assert compare(before + one, before + one.replace("x == 2", "x + 1 == 3")).proved


def test_a_program_of_any_type_is_proved() -> None:
    """Where the section says no type, a field of 4 bytes may be a pointer of 8."""
    equal = compare("return ctx->rx_queue_index + 1;", "return 1 + ctx->rx_queue_index;", "somewhere")
    upper = '__u64 x = ctx->rx_queue_index; asm volatile("" : "+r"(x)); return x >> 32 ? 0 : x;'
    other = compare("return ctx->rx_queue_index;", upper, "somewhere")

    assert equal.proved and not other.proved


CORE = """
struct one { int pad; int x; } __attribute__((preserve_access_index));
struct two { int pad; int y; } __attribute__((preserve_access_index));
#define THERE(f) __builtin_preserve_field_info(((struct one *)0)->f, 2)
#define SIZE(f) __builtin_preserve_field_info(((struct one *)0)->f, 1)
@@ struct one *p = *(struct one **)ctx; struct two *q = *(struct two **)ctx; if (p->x == 7) return q->y;
"""


def test_fields_of_two_names_are_two_fields() -> None:
    """They lie at one offset in the types of the file, and may be apart in a kernel."""
    assert compare(CORE + "return p->x + p->pad;", CORE + "return p->pad + p->x;", "tp_btf/x").proved
    result = compare(CORE + "return p->x + p->pad;", CORE + "return q->y + p->pad;", "tp_btf/x")
    assert (result.grade, result.reason.partition(":")[0]) == ("unknown", "core")


def test_whether_a_field_is_there_may_be_answered_in_either_way() -> None:
    same = compare(CORE + "if (THERE(x)) return 1; return 2 + SIZE(x);", CORE + "return !THERE(x) ? SIZE(x) + 2 : 1;", "tp_btf/x")
    other = compare(CORE + "if (THERE(x)) return 1; return SIZE(x);", CORE + "if (THERE(x)) return SIZE(x) - 3; return 4;", "tp_btf/x")

    assert same.proved and not any("own types" in text for text in same.assumptions)
    assert not other.proved or any("own types say" in text for text in other.assumptions)


def test_read_only_variables_that_changed_places_are_read_from_the_files() -> None:
    """A loader may set each by its name before the load: what is proved is said to hold for the contents of the files."""
    result = compare("const volatile int a = 0, b = 0;@@ return a;", "const volatile int b = 0, a = 0;@@ return b;")

    assert any("read-only data hold what the files have" in text for text in result.assumptions)


def test_the_budget_counts_steps() -> None:
    result = compare(PACKET + "return ip->ttl;", PACKET + "return ip->ttl;", steps=50)

    assert (result.grade, result.reason.partition(":")[0]) == ("unknown", "budget")


def test_a_loop_without_a_bound_ends() -> None:
    body = "__u32 i = 0; while (bpf_get_prandom_u32()) i++; return i;"

    result = compare(body, body, steps=20_000)

    assert result.reason.startswith("budget")


LOAD = 'unsigned long long byte_at(void *skb, unsigned long long at) asm("llvm.bpf.load.byte");'
SHORT = f"{LOAD} static __attribute__((noinline)) int sub(void *skb) {{ return byte_at(skb, 0x7fffff) + 1; }}@@ sub(ctx); return 7;"


def test_a_packet_load_that_fails_leaves_only_its_function() -> None:
    """bpf_gen_ld_abs: the subprogram returns 0 to its caller, which goes on. The kernel does what the proof says."""
    a, b = (compiled(function_of(body, "socket", "__sk_buff")) for body in (SHORT, "return 7;"))

    assert check(a, b).grade == "proved"


@pytest.mark.live
def test_the_kernel_agrees_on_packet_loads_that_fail() -> None:
    needs.root()
    from bpflens.execute.oracle.oracle import compare as run_both
    from bpflens.execute.result import Verdict
    from bpflens.execute.subject import subject_of

    a, b = (subject_of(object_of(function_of(body, "socket", "__sk_buff")), "x.o", "f") for body in (SHORT, "return 7;"))

    assert run_both(a, b, inputs=20).verdict is Verdict.EQUAL


CALLBACKS = {
    "equal": (
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->sum += i; s->n++; return 0; }@@"
        "struct s s = { 1, 2 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.sum + s.n;",
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->n = s->n + 1; s->sum = i + s->sum; return 0; }@@"
        "struct s s = { 1, 2 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.n + s.sum;",
        True,
    ),
    "another step": (
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->sum += i; s->n++; return 0; }@@"
        "struct s s = { 1, 2 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.sum + s.n;",
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->sum += i; s->n += 2; return 0; }@@"
        "struct s s = { 1, 2 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.sum + s.n;",
        False,
    ),
    "another start": (
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->sum += i; s->n++; return 0; }@@"
        "struct s s = { 1, 2 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.sum + s.n;",
        "struct s { int sum; int n; }; static long add(__u32 i, struct s *s) { s->sum += i; s->n++; return 0; }@@"
        "struct s s = { 2, 1 }; bpf_loop(ctx->ingress_ifindex, add, &s, 0); return s.sum + s.n;",
        False,
    ),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_are_functions_of_what_they_get(name: str) -> None:
    a, b, equal = CALLBACKS[name]

    result = compare(a, b)

    assert result.proved is equal, result


GARBAGE = "struct { __u8 a; __u32 b; } x; x.a = 1; x.b = %s; bpf_perf_event_output(ctx, &m, 0, &x, sizeof x); return 1;"


def test_bytes_of_the_stack_that_no_one_wrote_are_a_stated_condition() -> None:
    """The padding of a structure is handed on as it is: equal if what lies on the stack is."""
    apart = "__u64 y[3]; __builtin_memset(y, 7, 24); bpf_perf_event_output(ctx, &m, 0, y, 24); "

    result = compare(GARBAGE % "ctx->ingress_ifindex", apart.replace("24)", "24)") + GARBAGE % "ctx->ingress_ifindex")
    alike = compare(GARBAGE % "5", GARBAGE % "(4 + 1)")

    assert not result.proved
    assert alike.proved and any("never written" in text for text in alike.assumptions)


def test_a_loop_up_to_a_setting_is_compared_with_the_setting_of_the_file() -> None:
    """Whatever the setting is, the loop has more ways than the budget: the second budget takes its value, and says so."""
    source = (
        HEAD + 'static const volatile __u32 most = 0, ports[64];\nSEC("xdp") int f(struct xdp_md *ctx) { int found = 0;'
        "for (int i = 0; i < most && i < 64; i++) if (ports[i] == ctx->rx_queue_index) found = i; else if (ports[i] > 7) found += 3;"
        "return found; }"
    )
    result = check(compiled(source, "-O2", "-mcpu=v3"), compiled(source, "-O1", "-mcpu=v3"), steps=20_000)

    assert result.proved, result
    assert any("read-only data hold what the files have" in text for text in result.assumptions)
