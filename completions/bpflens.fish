complete -c bpflens -l color -x -a 'auto always never'
complete -c bpflens -l json
complete -c bpflens -l verbose
complete -c bpflens -l version
complete -c bpflens -l help
complete -c bpflens -l no-pager
complete -c bpflens -f -n __fish_use_subcommand
complete -c bpflens -f -n '__fish_seen_subcommand_from help completion doctor'
complete -c bpflens -f -n 'string match -qr "^[a-z]+:" -- (commandline -ct)'
complete -c bpflens -n __fish_use_subcommand -a ls -d 'every BPF program of this machine and what it is attached to'
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l all
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l audit
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l baseline
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l count
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l effective
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l explain
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l help
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l how-to-detach
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l limit
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l no-deep
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l sort -x -a 'kind object netns id name type age runs time holder'
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l watch
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l wide
complete -c bpflens -n '__fish_seen_subcommand_from ls' -a 'socket/packet fanout xdp tcx netkit tc lwt seg6local flow_dissector sk_lookup netfilter xt_bpf team socket tap seccomp cgroup lsm_cgroup xdp/devmap xdp/cpumap sockmap struct_ops tracepoint kprobe kretprobe uprobe uretprobe lirc_mode2 tracing freplace raw_tracepoint tp_btf iter perf_event kprobe_multi uprobe_multi link prog_array reuseport kcm tun ppp ptp_classifier pin fd held image'
complete -c bpflens -n '__fish_seen_subcommand_from ls' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from ls' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a tree -d 'objects, their programs, maps and tail calls'
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l help
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l no-deep
complete -c bpflens -n '__fish_seen_subcommand_from tree' -a 'socket/packet fanout xdp tcx netkit tc lwt seg6local flow_dissector sk_lookup netfilter xt_bpf team socket tap seccomp cgroup lsm_cgroup xdp/devmap xdp/cpumap sockmap struct_ops tracepoint kprobe kretprobe uprobe uretprobe lirc_mode2 tracing freplace raw_tracepoint tp_btf iter perf_event kprobe_multi uprobe_multi link prog_array reuseport kcm tun ppp ptp_classifier pin fd held image'
complete -c bpflens -n '__fish_seen_subcommand_from tree' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from tree' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a show -d 'all that is known of a program and its maps'
complete -c bpflens -n '__fish_seen_subcommand_from show' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from show' -l help
complete -c bpflens -n '__fish_seen_subcommand_from show' -l limit
complete -c bpflens -n '__fish_seen_subcommand_from show' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from show' -l no-attachments
complete -c bpflens -n '__fish_seen_subcommand_from show' -l no-deep
complete -c bpflens -n '__fish_seen_subcommand_from show' -l values
complete -c bpflens -n '__fish_seen_subcommand_from show' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from show' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a map -d 'list, look into, change, compare and watch maps'
complete -c bpflens -n '__fish_seen_subcommand_from map' -l apply
complete -c bpflens -n '__fish_seen_subcommand_from map' -l count
complete -c bpflens -n '__fish_seen_subcommand_from map' -l help
complete -c bpflens -n '__fish_seen_subcommand_from map' -l interval
complete -c bpflens -n '__fish_seen_subcommand_from map' -l limit
complete -c bpflens -n '__fish_seen_subcommand_from map' -l reverse
complete -c bpflens -n '__fish_seen_subcommand_from map' -l rounds
complete -c bpflens -n '__fish_seen_subcommand_from map' -l sort
complete -c bpflens -n '__fish_seen_subcommand_from map' -l where
complete -c bpflens -n '__fish_seen_subcommand_from map' -a 'ls show dump get set delete diff watch'
complete -c bpflens -n '__fish_seen_subcommand_from map' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from map' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a dis -d 'disassemble'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l annotate
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l arrows
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l dialect -x -a 'kernel llvm raw tcpdump ss dd ddd xt_bpf'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l function
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l help
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l isa -x -a 'classic extended'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l jited
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l line-numbers
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l no-arrows
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l no-labels
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l no-notes
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l opcodes
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l prototypes
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l raw-insn
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l section
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l show-raw-insn
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l source
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l start
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l stop
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l unoptimized
complete -c bpflens -n '__fish_seen_subcommand_from dis' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a explain -d 'say in words what a program does; of a classic filter also as an expression, with proof'
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l all
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l at
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l check
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l deadline
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l expression
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l function
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l given
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l help
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l map
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l services
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l why
complete -c bpflens -n '__fish_seen_subcommand_from explain' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from explain' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a original -d 'the program as it was loaded, with proof'
complete -c bpflens -n '__fish_seen_subcommand_from original' -l budget
complete -c bpflens -n '__fish_seen_subcommand_from original' -l dialect -x -a 'kernel llvm raw'
complete -c bpflens -n '__fish_seen_subcommand_from original' -l export-templates
complete -c bpflens -n '__fish_seen_subcommand_from original' -l help
complete -c bpflens -n '__fish_seen_subcommand_from original' -l kernel-btf
complete -c bpflens -n '__fish_seen_subcommand_from original' -l no-reload
complete -c bpflens -n '__fish_seen_subcommand_from original' -l objects
complete -c bpflens -n '__fish_seen_subcommand_from original' -l output
complete -c bpflens -n '__fish_seen_subcommand_from original' -l side-by-side
complete -c bpflens -n '__fish_seen_subcommand_from original' -l source
complete -c bpflens -n '__fish_seen_subcommand_from original' -l store
complete -c bpflens -n '__fish_seen_subcommand_from original' -l tag
complete -c bpflens -n '__fish_seen_subcommand_from original' -l templates
complete -c bpflens -n '__fish_seen_subcommand_from original' -l type
complete -c bpflens -n '__fish_seen_subcommand_from original' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from original' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a decompile -d 'C that compiles, at the level that each function allows'
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l check
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l function
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l help
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l inputs
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l level -x -a 'structured instructions assembly'
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l output
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l pc
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l source
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l style -x -a 'kernel plain'
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a seccomp -d 'a seccomp filters policy, findings, OCI profile, one syscall'
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l all
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l arch
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l args
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l audit
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l diff
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l event
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l findings
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l help
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l oci
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l seccomp
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l syscall
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a asm -d 'assemble'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l dialect -x -a 'auto kernel llvm'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l format -x -a 'raw hex c ss dd ddd xt_bpf'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l help
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l isa -x -a 'auto classic extended'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l output
complete -c bpflens -n '__fish_seen_subcommand_from asm' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a save -d 'programs with their maps, data and attachments, into one file'
complete -c bpflens -n '__fish_seen_subcommand_from save' -l all
complete -c bpflens -n '__fish_seen_subcommand_from save' -l audit
complete -c bpflens -n '__fish_seen_subcommand_from save' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from save' -l freeze
complete -c bpflens -n '__fish_seen_subcommand_from save' -l help
complete -c bpflens -n '__fish_seen_subcommand_from save' -l jited
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-data
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-deep
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-hashes
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-reload
complete -c bpflens -n '__fish_seen_subcommand_from save' -l output
complete -c bpflens -n '__fish_seen_subcommand_from save' -l quiesce
complete -c bpflens -n '__fish_seen_subcommand_from save' -l redact
complete -c bpflens -n '__fish_seen_subcommand_from save' -l sign
complete -c bpflens -n '__fish_seen_subcommand_from save' -l stable
complete -c bpflens -n '__fish_seen_subcommand_from save' -l templates
complete -c bpflens -n '__fish_seen_subcommand_from save' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from save' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a restore -d 'make a snapshots programs, maps and attachments again, with proof'
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l apply
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l cgroup
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l dev
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l help
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l netns
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l no-attach
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l only
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l pin-prefix
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l replace
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l reuse-maps
complete -c bpflens -n '__fish_seen_subcommand_from restore' -l undo
complete -c bpflens -n '__fish_seen_subcommand_from restore' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from restore' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a record -d 'keep the originals of programs as they are loaded'
complete -c bpflens -n '__fish_seen_subcommand_from record' -l full
complete -c bpflens -n '__fish_seen_subcommand_from record' -l help
complete -c bpflens -n '__fish_seen_subcommand_from record' -l list
complete -c bpflens -n '__fish_seen_subcommand_from record' -l max-mib
complete -c bpflens -n '__fish_seen_subcommand_from record' -l pin
complete -c bpflens -n '__fish_seen_subcommand_from record' -l remove
complete -c bpflens -n '__fish_seen_subcommand_from record' -l ring-mib
complete -c bpflens -n '__fish_seen_subcommand_from record' -l seconds
complete -c bpflens -n '__fish_seen_subcommand_from record' -l store
complete -c bpflens -n '__fish_seen_subcommand_from record' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from record' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a export -d 'a snapshots maps as CSV, JSON Lines or Parquet, its programs as objects'
complete -c bpflens -n '__fish_seen_subcommand_from export' -l format -x -a 'csv jsonl bpftool parquet elf'
complete -c bpflens -n '__fish_seen_subcommand_from export' -l help
complete -c bpflens -n '__fish_seen_subcommand_from export' -l output
complete -c bpflens -n '__fish_seen_subcommand_from export' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from export' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a diff -d 'are two filters equal? if not, the packet that tells them apart'
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l deadline
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l given
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l help
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l unoptimized
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l values
complete -c bpflens -n '__fish_seen_subcommand_from diff' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from diff' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a verify -d 'a snapshot with the running machine'
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l all
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l help
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l identity
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l no-data
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l only-file
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l openmetrics
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l signers
complete -c bpflens -n '__fish_seen_subcommand_from verify' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from verify' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a packets -d 'packets that a filter accepts and rejects'
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l accepted
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l count
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l help
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l model -x -a 'kernel libpcap'
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l write
complete -c bpflens -n '__fish_seen_subcommand_from packets' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from packets' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a run -d 'run a filter over a capture'
complete -c bpflens -n '__fish_seen_subcommand_from run' -l aux
complete -c bpflens -n '__fish_seen_subcommand_from run' -l help
complete -c bpflens -n '__fish_seen_subcommand_from run' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from run' -l model -x -a 'kernel libpcap'
complete -c bpflens -n '__fish_seen_subcommand_from run' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from run' -l profile
complete -c bpflens -n '__fish_seen_subcommand_from run' -l returns
complete -c bpflens -n '__fish_seen_subcommand_from run' -l total
complete -c bpflens -n '__fish_seen_subcommand_from run' -l write
complete -c bpflens -n '__fish_seen_subcommand_from run' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from run' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a debug -d 'step through a filter, forward and back'
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l aux
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l commands
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l help
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l linktype -x -a 'EN10MB RAW IPV4 IPV6 NULL LOOP PPP C_HDLC LINUX_SLL LINUX_SLL2 IEEE802_11 IEEE802_11_RADIO'
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l model -x -a 'kernel libpcap'
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from debug' -a 'id: name: tag: pin: map: link: fd: pid: sock: dev: cgroup: netns: pcap: comm: exe: unit:'
complete -c bpflens -n '__fish_seen_subcommand_from debug' -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'
complete -c bpflens -n __fish_use_subcommand -a doctor -d 'what this user and kernel allow, and what is lost without the rest'
complete -c bpflens -n '__fish_seen_subcommand_from doctor' -l help
complete -c bpflens -n '__fish_seen_subcommand_from doctor' -l missing
complete -c bpflens -n __fish_use_subcommand -a completion -d 'print the completion script of bash, zsh or fish'
complete -c bpflens -n '__fish_seen_subcommand_from completion' -l help
complete -c bpflens -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish targets'
complete -c bpflens -n __fish_use_subcommand -a help -d 'help on a verb or topic'
complete -c bpflens -n '__fish_seen_subcommand_from help' -l help
complete -c bpflens -n '__fish_seen_subcommand_from help' -a 'exit-codes targets proofs json ls tree show map dis explain original decompile seccomp asm save restore record export diff verify packets run debug doctor completion help'
