# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vipcast_global_optspecs
    string join \n h/help V/version
end

function __fish_vipcast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vipcast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vipcast_using_subcommand
    set -l cmd (__fish_vipcast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vipcast -n "__fish_vipcast_needs_command" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_needs_command" -s V -l version -d 'Print version'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "run" -d 'Run the daemon in the foreground'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "check" -d 'Validate a configuration; exits with 78 if it is invalid'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "demo" -d 'Watch a VIP being announced and withdrawn: a rack on this machine, without root and without a router'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "status" -d 'Show peers, services and VIPs'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "top" -d 'Watch peers, checks, VIPs and events on the whole screen, trouble first'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "explain" -d 'Explain why a VIP is or is not announced, with every fact behind the verdict'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "events" -d 'Show what happened, oldest first, and who did it'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "doctor" -d 'Examine this host and the running daemon, and name each fault with its fix'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "drain" -d 'Take a service, or a router, out of traffic until `undrain`: first GRACEFUL_SHUTDOWN, then the withdrawal'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "undrain" -d 'Put a drained service or router back into traffic'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "force-up" -d 'Count a service as healthy whatever its checks say, until `clear`; a drain wins'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "force-down" -d 'Withhold a service at once whatever its checks say, until `clear`'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "clear" -d 'Let the checks of a forced service decide again'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "promote" -d 'Let a service that `preempt` holds back after a failure take its traffic back'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "reload" -d 'Reload the configuration; an invalid file changes nothing'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "upgrade" -d 'Hand over to the program on disk: sessions, BFD, addresses and routes go on'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "restart" -d 'Replace the daemon by the program on disk without a gap in traffic'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "recipe" -d 'Print the router\'s side of the configuration, for one kind of router'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "import" -d 'Print the configuration of another program as one for vipcast, with a comment for whatever has no place in it'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "schema" -d 'Print the JSON Schema of the configuration, for editors'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "openapi" -d 'Print the OpenAPI document of the control socket, for programs that use it'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "version" -d 'Print the version'
complete -c vipcast -n "__fish_vipcast_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vipcast -n "__fish_vipcast_using_subcommand run" -s c -l config -d 'Another way to name FILE' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand run" -l socket -d 'With --observe: its control socket [default: /run/vipcast-observe.sock; for users in their runtime directory]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand run" -l api -d 'With --observe: opens the API, the page and the metrics on this address' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand run" -l observe -d 'Decide, and bind and announce nothing: runs beside another program, or another vipcast, to be compared with it'
complete -c vipcast -n "__fish_vipcast_using_subcommand run" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -s c -l config -d 'Another way to name FILE' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -l probe -d 'Run every check once and show the results; nothing is bound or announced. Exits with 1 if a check fails. With SERVICE, run only its checks' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -l offline -d 'Ignore users, groups, programs and files of this host, to check a configuration for another host'
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -l strict -d 'Take warnings as errors: exits with 78 if there is any'
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -l json -d 'Print the findings, or the results of the checks, as JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand check" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand demo" -l keep -d 'Leave the rack running until Ctrl-C, for `status`, `explain` and `drain` from another terminal'
complete -c vipcast -n "__fish_vipcast_using_subcommand demo" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand status" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand status" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand status" -l watch -d 'Show it anew every second, until Ctrl-C'
complete -c vipcast -n "__fish_vipcast_using_subcommand status" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand status" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand top" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand top" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand explain" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand explain" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand explain" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand explain" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l since -d 'Only events of this last time, for example 10m, or since a time, for example 2026-01-31T13:00:00Z' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l vip -d 'Only events of this VIP' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l service -d 'Only events of this service' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l check -d 'Only events of this check' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l peer -d 'Only events of this peer' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -s f -l follow -d 'Go on with events as they happen, also of a daemon that starts again'
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l debug -d 'Also events of interest only for an examination'
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand events" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -l socket -d 'Control socket of the daemon [default: the one in the configuration file]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -l peer -d 'Only what concerns the session with this peer' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -l ignore -d 'Leave out a finding, by its id; may be given several times' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -l json -d 'Print the findings as JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -s q -l quiet -d 'Print nothing; the exit code says whether anything was found'
complete -c vipcast -n "__fish_vipcast_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l peer -d 'One router: all routes are taken from it, its session stays, and the other routers notice nothing' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l for -d 'End the drain automatically after this time, for example 2h' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l reason -d 'The reason, shown by `status` and `explain`' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l replace -d 'Replace the drain in force, even if it ends later'
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -l wait -d 'Return when every router was told the withdrawal, and show the progress; exits with 1 if that takes 30 s longer than the drain time, or longer than `--timeout`, and with 3 if no router has a session'
complete -c vipcast -n "__fish_vipcast_using_subcommand drain" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l peer -d 'One router: all routes are taken from it, its session stays, and the other routers notice nothing' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l reason -d 'The reason, for the log' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -l wait -d 'Return when it is announced again, and show the progress; exits with 1 and the reason if that takes more than 30 s, or longer than `--timeout`'
complete -c vipcast -n "__fish_vipcast_using_subcommand undrain" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l for -d 'Lift the force automatically after this time, for example 2h' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l reason -d 'The reason, shown by `status` and `explain`' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-up" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l for -d 'Lift the force automatically after this time, for example 2h' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l reason -d 'The reason, shown by `status` and `explain`' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand force-down" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -l reason -d 'The reason, for the log' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand clear" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -l reason -d 'The reason, for the log' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -l all -d 'Every service'
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand promote" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -s q -l quiet -d 'Do not print the daemon\'s answer, which is also in its log'
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -l dry-run -d 'Change nothing: say which sessions, addresses, announcements and checks a reload would touch; exits with 1 if the reload would be refused'
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand reload" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand upgrade" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand upgrade" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand upgrade" -l dry-run -d 'Change nothing: say whether the program on disk could take over; exits with 1 if not'
complete -c vipcast -n "__fish_vipcast_using_subcommand upgrade" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand upgrade" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand restart" -l socket -d 'Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand restart" -l timeout -d 'Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand restart" -l graceful -d 'Keep addresses and routes during the restart; every peer needs `graceful_restart`'
complete -c vipcast -n "__fish_vipcast_using_subcommand restart" -l json -d 'Print JSON'
complete -c vipcast -n "__fish_vipcast_using_subcommand restart" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand recipe" -s c -l config -d 'Another way to name FILE' -r -F
complete -c vipcast -n "__fish_vipcast_using_subcommand recipe" -l peer -d 'Only the router that the configuration calls so' -r
complete -c vipcast -n "__fish_vipcast_using_subcommand recipe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vipcast -n "__fish_vipcast_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vipcast -n "__fish_vipcast_using_subcommand schema" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand openapi" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand version" -l json -d 'Print JSON, with the commit'
complete -c vipcast -n "__fish_vipcast_using_subcommand version" -s h -l help -d 'Print help'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "run" -d 'Run the daemon in the foreground'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "check" -d 'Validate a configuration; exits with 78 if it is invalid'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "demo" -d 'Watch a VIP being announced and withdrawn: a rack on this machine, without root and without a router'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "status" -d 'Show peers, services and VIPs'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "top" -d 'Watch peers, checks, VIPs and events on the whole screen, trouble first'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "explain" -d 'Explain why a VIP is or is not announced, with every fact behind the verdict'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "events" -d 'Show what happened, oldest first, and who did it'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "doctor" -d 'Examine this host and the running daemon, and name each fault with its fix'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "drain" -d 'Take a service, or a router, out of traffic until `undrain`: first GRACEFUL_SHUTDOWN, then the withdrawal'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "undrain" -d 'Put a drained service or router back into traffic'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "force-up" -d 'Count a service as healthy whatever its checks say, until `clear`; a drain wins'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "force-down" -d 'Withhold a service at once whatever its checks say, until `clear`'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "clear" -d 'Let the checks of a forced service decide again'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "promote" -d 'Let a service that `preempt` holds back after a failure take its traffic back'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "reload" -d 'Reload the configuration; an invalid file changes nothing'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "upgrade" -d 'Hand over to the program on disk: sessions, BFD, addresses and routes go on'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "restart" -d 'Replace the daemon by the program on disk without a gap in traffic'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "recipe" -d 'Print the router\'s side of the configuration, for one kind of router'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "import" -d 'Print the configuration of another program as one for vipcast, with a comment for whatever has no place in it'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "schema" -d 'Print the JSON Schema of the configuration, for editors'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "openapi" -d 'Print the OpenAPI document of the control socket, for programs that use it'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "version" -d 'Print the version'
complete -c vipcast -n "__fish_vipcast_using_subcommand help; and not __fish_seen_subcommand_from run check demo status top explain events doctor drain undrain force-up force-down clear promote reload upgrade restart recipe import schema openapi version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
