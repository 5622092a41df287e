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
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l sort
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l watch
complete -c bpflens -n '__fish_seen_subcommand_from ls' -l wide
complete -c bpflens -n __fish_use_subcommand -a tree -d 'objects, their programs, maps and tail calls'
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l help
complete -c bpflens -n '__fish_seen_subcommand_from tree' -l no-deep
complete -c bpflens -n __fish_use_subcommand -a show -d 'all that is known of a program and its maps'
complete -c bpflens -n '__fish_seen_subcommand_from show' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from show' -l help
complete -c bpflens -n '__fish_seen_subcommand_from show' -l limit
complete -c bpflens -n '__fish_seen_subcommand_from show' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from show' -l no-attachments
complete -c bpflens -n '__fish_seen_subcommand_from show' -l no-deep
complete -c bpflens -n '__fish_seen_subcommand_from show' -l values
complete -c bpflens -n __fish_use_subcommand -a dis -d 'disassemble'
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l annotate
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l arrows
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l dialect
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l function
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l help
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l isa
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l jited
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l line-numbers
complete -c bpflens -n '__fish_seen_subcommand_from dis' -l linktype
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
complete -c bpflens -n __fish_use_subcommand -a explain -d 'say in words and as an expression what a classic filter does, with proof'
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l all
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l deadline
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l expression
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l given
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l help
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from explain' -l why
complete -c bpflens -n __fish_use_subcommand -a original -d 'the program as it was loaded, with proof'
complete -c bpflens -n '__fish_seen_subcommand_from original' -l budget
complete -c bpflens -n '__fish_seen_subcommand_from original' -l dialect
complete -c bpflens -n '__fish_seen_subcommand_from original' -l export-templates
complete -c bpflens -n '__fish_seen_subcommand_from original' -l help
complete -c bpflens -n '__fish_seen_subcommand_from original' -l kernel-btf
complete -c bpflens -n '__fish_seen_subcommand_from original' -l no-reload
complete -c bpflens -n '__fish_seen_subcommand_from original' -l objects
complete -c bpflens -n '__fish_seen_subcommand_from original' -l output
complete -c bpflens -n '__fish_seen_subcommand_from original' -l side-by-side
complete -c bpflens -n '__fish_seen_subcommand_from original' -l source
complete -c bpflens -n '__fish_seen_subcommand_from original' -l tag
complete -c bpflens -n '__fish_seen_subcommand_from original' -l templates
complete -c bpflens -n '__fish_seen_subcommand_from original' -l type
complete -c bpflens -n __fish_use_subcommand -a decompile -d 'C that compiles, at the level that each function allows'
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l check
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l function
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l help
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l inputs
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l level
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l output
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l pc
complete -c bpflens -n '__fish_seen_subcommand_from decompile' -l source
complete -c bpflens -n __fish_use_subcommand -a seccomp -d 'a seccomp filters policy, findings, OCI profile, one syscall'
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l all
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l arch
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l args
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l audit
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l diff
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l findings
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l help
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l oci
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l seccomp
complete -c bpflens -n '__fish_seen_subcommand_from seccomp' -l syscall
complete -c bpflens -n __fish_use_subcommand -a asm -d 'assemble'
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l dialect
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l format
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l help
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l isa
complete -c bpflens -n '__fish_seen_subcommand_from asm' -l output
complete -c bpflens -n __fish_use_subcommand -a save -d 'programs with their maps, data and attachments, into one file'
complete -c bpflens -n '__fish_seen_subcommand_from save' -l all
complete -c bpflens -n '__fish_seen_subcommand_from save' -l audit
complete -c bpflens -n '__fish_seen_subcommand_from save' -l deep
complete -c bpflens -n '__fish_seen_subcommand_from save' -l help
complete -c bpflens -n '__fish_seen_subcommand_from save' -l jited
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-data
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-hashes
complete -c bpflens -n '__fish_seen_subcommand_from save' -l no-reload
complete -c bpflens -n '__fish_seen_subcommand_from save' -l output
complete -c bpflens -n '__fish_seen_subcommand_from save' -l quiesce
complete -c bpflens -n '__fish_seen_subcommand_from save' -l redact
complete -c bpflens -n '__fish_seen_subcommand_from save' -l sign
complete -c bpflens -n '__fish_seen_subcommand_from save' -l stable
complete -c bpflens -n '__fish_seen_subcommand_from save' -l templates
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
complete -c bpflens -n __fish_use_subcommand -a export -d 'a snapshots maps as CSV, JSON Lines or Parquet, its programs as objects'
complete -c bpflens -n '__fish_seen_subcommand_from export' -l format
complete -c bpflens -n '__fish_seen_subcommand_from export' -l help
complete -c bpflens -n '__fish_seen_subcommand_from export' -l output
complete -c bpflens -n __fish_use_subcommand -a diff -d 'are two filters equal? if not, the packet that tells them apart'
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l deadline
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l given
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l help
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l unoptimized
complete -c bpflens -n '__fish_seen_subcommand_from diff' -l values
complete -c bpflens -n __fish_use_subcommand -a verify -d 'a snapshot with the running machine'
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l all
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l help
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l identity
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l no-data
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l only-file
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l openmetrics
complete -c bpflens -n '__fish_seen_subcommand_from verify' -l signers
complete -c bpflens -n __fish_use_subcommand -a packets -d 'packets that a filter accepts and rejects'
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l accepted
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l count
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l help
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l model
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from packets' -l write
complete -c bpflens -n __fish_use_subcommand -a run -d 'run a filter over a capture'
complete -c bpflens -n '__fish_seen_subcommand_from run' -l aux
complete -c bpflens -n '__fish_seen_subcommand_from run' -l help
complete -c bpflens -n '__fish_seen_subcommand_from run' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from run' -l model
complete -c bpflens -n '__fish_seen_subcommand_from run' -l no-optimize
complete -c bpflens -n '__fish_seen_subcommand_from run' -l profile
complete -c bpflens -n '__fish_seen_subcommand_from run' -l returns
complete -c bpflens -n '__fish_seen_subcommand_from run' -l total
complete -c bpflens -n '__fish_seen_subcommand_from run' -l write
complete -c bpflens -n __fish_use_subcommand -a debug -d 'step through a filter, forward and back'
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l aux
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l commands
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l help
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l linktype
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l model
complete -c bpflens -n '__fish_seen_subcommand_from debug' -l no-optimize
complete -c bpflens -n __fish_use_subcommand -a doctor -d 'what this user and kernel allow, and what is lost without the rest'
complete -c bpflens -n '__fish_seen_subcommand_from doctor' -l help
complete -c bpflens -n '__fish_seen_subcommand_from doctor' -l missing
complete -c bpflens -n __fish_use_subcommand -a completion -d 'print the completion script of bash, zsh or fish'
complete -c bpflens -n '__fish_seen_subcommand_from completion' -l help
complete -c bpflens -n __fish_use_subcommand -a help -d 'help on a verb or topic'
complete -c bpflens -n '__fish_seen_subcommand_from help' -l help
