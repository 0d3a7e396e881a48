# fish completion for netlab.  Generated from netlab's commands; do not edit.
#
#     mkdir -p ~/.config/fish/completions
#     netlab --completion fish > ~/.config/fish/completions/netlab.fish

function __netlab_arguments -d 'The words before the cursor that are no options and no values of options'
    set -l values --completion -H --host -p --port -U --unix --type --set --mode --reply --ack-text --eol --exit-word --fault --seed --duration --ready-fd -o --output --encoding --color --trace-file --trace-peer --backlog --idle-timeout --max-clients --cpu -s --source -w --timeout --wait -f --file --until --expect --expect-regex -c --count -j --jobs -i --interval --rate --deadline --payload --ok-if
    set -l skip no
    set -l ended no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
        else if test $ended = yes
            printf '%s\n' $word
        else if test "$word" = --
            set ended yes
        else if string match -qr '^--' -- $word
            contains -- $word $values; and set skip yes
        else if string match -qr '^-.' -- $word
            # Of a cluster such as -vw the first that takes a value has the rest, or else the next word.
            while set word (string sub -s 2 -- $word); and test -n "$word"
                contains -- -(string sub -l 1 -- $word) $values; or continue
                test (string length -- $word) = 1; and set skip yes
                break
            end
        else
            printf '%s\n' $word
        end
    end
end

function __netlab_at -d 'Whether the command is $argv[1]; none stands for before it'
    set -l words (__netlab_arguments)
    test "$words[1]" = "$argv[1]"
end

function __netlab_first -d 'Whether the command $argv[1] awaits its first argument, and no option has taken its place'
    set -l words (__netlab_arguments)
    test "$words[1]" = "$argv[1]" -a (count $words) -eq 1
    and not string match -qr '^(-[HpU]|--(host|port|unix)(=|$))' -- (commandline -opc)
end

function __netlab_word -d 'The word at the cursor as far as it goes, without quotes and without the option in front'
    set -l word (commandline -ct)
    switch $word
        case '"*' "'*"
            set word (string sub -s 2 -- $word)
        case '*'
            set word (string unescape -- $word; or printf '%s' $word)
    end
    string replace -r '^--[a-z-]+=' '' -- $word
end

function __netlab_hosts -d 'The hosts of known_hosts and /etc/hosts, $argv[1] after each'
    begin
        for file in ~/.ssh/known_hosts ~/.ssh/known_hosts2 /etc/ssh/ssh_known_hosts
            # What is hashed, a comment or marked begins with |, # or @.
            test -r $file; and string replace -rf '^([^|#@ ]+) .*' '$1' <$file | string split ,
        end
        test -r /etc/hosts; and string replace -r '#.*' '' </etc/hosts | string match -ra '\S+'
    end | string replace -rf '^\[?([A-Za-z0-9._-]+)(?:\]:\d+)?$' '$1'"$argv[1]"
end

function __netlab_ports -d 'Ports of the host $argv[1]: its listeners if it is this one, 9999, and well-known names'
    set -l protocol tcp
    set -l names ftp ssh smtp domain http imap2 ldap https mysql postgresql
    if string match -qr '^(-u|--udp)$' -- (commandline -opc); or string match -qr '^udp:' -- "$argv[2]"
        set protocol udp
        set names domain ntp snmp syslog
    end
    printf '%s\n' 9999
    test -r /etc/services; and printf '%s\n' $names
    string match -qr '^(localhost|.*\.localhost|127\..*|::1|\[::1\])?$' -- "$argv[1]"; or return 0
    # The state and the other side of a listener, or of a socket that has none; local are 127.x.x.x, 0.0.0.0, and the same
    # in IPv6.  Not line by line: the kernel counts lines anew at each read, and skips one where a socket has gone.
    set -l listens '0+:0000 0A'
    test $protocol = udp; and set listens '0+:0000'
    set -l own '(?:[0-9A-F]{6}7F|0{8}|0{32}|0{24}01000000)'
    for port in (command head -qc 65536 /proc/net/$protocol /proc/net/{$protocol}6 2>/dev/null | string replace -rf "^ *\d+: $own:(\S+) $listens .*" '$1')
        printf '%d\n' 0x$port
    end
end

function __netlab_endpoints -d 'Endpoints of a client (target) or of a server (listen): HOST:PORT, [::1]:PORT, unix:PATH'
    set -l word (__netlab_word)
    set -l scheme (string match -r '^(?:tcp|udp|icmp|unix|unix-dgram|unix-seqpacket):(?://)?' -- $word)
    set -l rest (string sub -s (math (string length -- "$scheme") + 1) -- $word)
    if string match -q 'unix*' -- $scheme
        __netlab_files $rest | string replace -r '^' $scheme
    else if string match -q 'icmp*' -- $scheme
        printf '%s\n' "$scheme"(__netlab_hosts) "$scheme"::1
    else if set -l place (string match -r '^(?:\[.*\]|[^\[:]*):' -- $rest)
        set -l items (string match -r '^.*,' -- (string replace -- $place '' $rest))
        if test $argv[1] = listen
            printf '%s\n' "$scheme$place"{9999,0}
        else
            printf '%s\n' "$scheme$place$items"(__netlab_ports (string sub -e -1 -- $place) $scheme)
        end
    else if test $argv[1] = listen
        printf '%s\n' "$scheme"{127.0.0.1:,0.0.0.0:,localhost:,[::1]:,[::]:,unix:}
    else
        printf '%s\n' "$scheme"(__netlab_hosts :) "$scheme"'[::1]:'
        test -n "$scheme"; or printf '%s\n' udp: icmp: unix:
        string match -qr '^\d+$' -- $rest; and printf '%s\n' "$scheme"(__netlab_ports '' $scheme)
    end
end

function __netlab_files -d 'The files that $argv[1] begins, a slash after directories'
    for file in $argv[1]*
        test -d $file; and set file $file/
        printf '%s\n' $file
    end
end

function __netlab_list -d 'A list with commas: what stands before its last item, and each of $argv that is not there'
    set -l items (string match -r '^.*,' -- (__netlab_word))
    for word in $argv
        contains -- $word (string split , -- "$items"); or printf '%s\n' "$items"$word
    end
end

function __netlab_settings -d 'Socket options, and the values of those that are on or off'
    set -l name (string replace -rf '=.*' '' -- (__netlab_word))
    if not set -q name[1]
        printf '%s\n' SO_REUSEADDR= SO_REUSEPORT= SO_KEEPALIVE= SO_BROADCAST= SO_DONTROUTE= SO_OOBINLINE= SO_LINGER= SO_RCVBUF= SO_SNDBUF= SO_RCVLOWAT= SO_RCVTIMEO= SO_SNDTIMEO= SO_PRIORITY= SO_MARK= SO_RCVMARK= SO_BINDTODEVICE= SO_BINDTOIFINDEX= SO_INCOMING_CPU= SO_MAX_PACING_RATE= SO_BUSY_POLL= SO_PREFER_BUSY_POLL= SO_ZEROCOPY= SO_RXQ_OVFL= SO_TIMESTAMP= SO_TIMESTAMPNS= SO_TIMESTAMPING= SO_PEEK_OFF= SO_BUF_LOCK= SO_TXREHASH= SO_DEBUG= SO_PASSCRED= SO_PASSSEC= TCP_NODELAY= TCP_MAXSEG= TCP_CORK= TCP_KEEPIDLE= TCP_KEEPINTVL= TCP_KEEPCNT= TCP_SYNCNT= TCP_LINGER2= TCP_DEFER_ACCEPT= TCP_WINDOW_CLAMP= TCP_QUICKACK= TCP_CONGESTION= TCP_USER_TIMEOUT= TCP_FASTOPEN= TCP_FASTOPEN_CONNECT= TCP_FASTOPEN_NO_COOKIE= TCP_NOTSENT_LOWAT= TCP_THIN_LINEAR_TIMEOUTS= TCP_SAVE_SYN= TCP_ULP= TCP_INQ= TCP_TX_DELAY= TCP_RTO_MAX_MS= TCP_RTO_MIN_US= TCP_DELACK_MAX_US= UDP_CORK= UDP_SEGMENT= UDP_GRO= UDP_NO_CHECK6_TX= UDP_NO_CHECK6_RX= IP_TOS= IP_TTL= IP_MTU_DISCOVER= IP_RECVERR= IP_RECVTTL= IP_RECVTOS= IP_PKTINFO= IP_RECVORIGDSTADDR= IP_RECVFRAGSIZE= IP_FREEBIND= IP_TRANSPARENT= IP_MINTTL= IP_BIND_ADDRESS_NO_PORT= IP_LOCAL_PORT_RANGE= IP_UNICAST_IF= IP_MULTICAST_IF= IP_MULTICAST_TTL= IP_MULTICAST_LOOP= IP_MULTICAST_ALL= IP_HDRINCL= IPV6_V6ONLY= IPV6_UNICAST_HOPS= IPV6_TCLASS= IPV6_MTU= IPV6_MTU_DISCOVER= IPV6_DONTFRAG= IPV6_RECVERR= IPV6_RECVPKTINFO= IPV6_RECVHOPLIMIT= IPV6_RECVTCLASS= IPV6_MINHOPCOUNT= IPV6_AUTOFLOWLABEL= IPV6_ADDR_PREFERENCES= IPV6_FREEBIND= IPV6_TRANSPARENT= IPV6_UNICAST_IF= IPV6_MULTICAST_IF= IPV6_MULTICAST_HOPS= IPV6_MULTICAST_LOOP= IPV6_MULTICAST_ALL= ICMP_FILTER=
    else if contains -- $name SO_REUSEADDR SO_REUSEPORT SO_KEEPALIVE SO_BROADCAST SO_DONTROUTE SO_OOBINLINE SO_RCVMARK SO_PREFER_BUSY_POLL SO_ZEROCOPY SO_RXQ_OVFL SO_TIMESTAMP SO_TIMESTAMPNS SO_TXREHASH SO_DEBUG SO_PASSCRED SO_PASSSEC TCP_NODELAY TCP_CORK TCP_QUICKACK TCP_FASTOPEN_CONNECT TCP_FASTOPEN_NO_COOKIE TCP_THIN_LINEAR_TIMEOUTS TCP_INQ UDP_CORK UDP_GRO UDP_NO_CHECK6_TX UDP_NO_CHECK6_RX IP_RECVERR IP_RECVTTL IP_RECVTOS IP_PKTINFO IP_RECVORIGDSTADDR IP_RECVFRAGSIZE IP_FREEBIND IP_TRANSPARENT IP_BIND_ADDRESS_NO_PORT IP_MULTICAST_LOOP IP_MULTICAST_ALL IP_HDRINCL IPV6_V6ONLY IPV6_DONTFRAG IPV6_RECVERR IPV6_RECVPKTINFO IPV6_RECVHOPLIMIT IPV6_RECVTCLASS IPV6_AUTOFLOWLABEL IPV6_FREEBIND IPV6_TRANSPARENT IPV6_MULTICAST_LOOP IPV6_MULTICAST_ALL
        printf '%s\n' $name={0,1}
    end
end

function __netlab_faults -d 'Names of faults, and behind = the value of the one in $argv'
    if string match -q '*=*' -- (__netlab_word)
        printf '%s\n' $argv
    else
        string replace -r '=.*' = -- $argv
    end
end

complete -c netlab -f
complete -c netlab -n __netlab_at -a serve-tcp -d 'Serve one client at a time, on TCP or a unix socket'
complete -c netlab -n __netlab_at -a serve-threaded -d 'Serve each client in a thread of its own'
complete -c netlab -n __netlab_at -a serve-udp -d 'Serve datagrams, on UDP or a unix socket'
complete -c netlab -n __netlab_at -a send -d 'Send one message or a stream, and show the reply'
complete -c netlab -n __netlab_at -a chat -d 'Type lines to a peer and see what it sends, as it comes'
complete -c netlab -n __netlab_at -a probe -d 'Say what a connection attempt meets, and why'
complete -c netlab -n __netlab_at -l version -d 'Show the version and exit'
complete -c netlab -n __netlab_at -l completion -x -a 'bash zsh fish' -d 'Print a completion script'
complete -c netlab -n __netlab_at -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_at serve-tcp' -s H -l host -x -a '127.0.0.1 localhost 0.0.0.0 ::1 ::' -d 'Host name or address'
complete -c netlab -n '__netlab_at serve-tcp' -s p -l port -x -a '9999 0' -d 'Port number or service name'
complete -c netlab -n '__netlab_at serve-tcp' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at serve-tcp' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at serve-tcp' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at serve-tcp' -l type -x -a 'stream seqpacket' -d 'Kind of unix socket'
complete -c netlab -n '__netlab_at serve-tcp' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at serve-tcp' -l concurrent -d 'Serve all clients at once, from an event loop'
complete -c netlab -n '__netlab_at serve-tcp' -l mode -x -d 'Permissions of the unix socket file'
complete -c netlab -n '__netlab_at serve-tcp' -l reply -x -a 'ack echo discard generate broadcast' -d 'What a client gets back'
complete -c netlab -n '__netlab_at serve-tcp' -l ack-text -x -d 'The acknowledgement'
complete -c netlab -n '__netlab_at serve-tcp' -l eol -x -a 'none lf crlf' -d 'What ends an acknowledgement'
complete -c netlab -n '__netlab_at serve-tcp' -s C -d 'Same as --eol crlf'
complete -c netlab -n '__netlab_at serve-tcp' -l exit-word -x -d 'Word that ends a client\'s conversation'
complete -c netlab -n '__netlab_at serve-tcp' -l fault -x -a '(__netlab_faults delay=300ms rate=10k dribble=1B/10ms split-utf8 close-after=5B reset-after=5B half-close stall no-accept refuse-every=3 no-reply drop=10% corrupt=1% garbage list)' -d 'Misbehave on purpose'
complete -c netlab -n '__netlab_at serve-tcp' -l seed -x -d 'Let chance repeat itself: same number, same faults'
complete -c netlab -n '__netlab_at serve-tcp' -s 1 -l once -d 'End after one client'
complete -c netlab -n '__netlab_at serve-tcp' -l duration -x -d 'End after so long'
complete -c netlab -n '__netlab_at serve-tcp' -l stop-on-exit -d 'Let the exit word stop the server, too'
complete -c netlab -n '__netlab_at serve-tcp' -l ready-fd -x -d 'Write the endpoint to descriptor FD once clients can come'
complete -c netlab -n '__netlab_at serve-tcp' -s o -l output -r -F -d 'Write received bytes to FILE as they are'
complete -c netlab -n '__netlab_at serve-tcp' -s x -l hexdump -d 'Show bytes in hexadecimal'
complete -c netlab -n '__netlab_at serve-tcp' -l encoding -x -a 'utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' -d 'Encoding of the peer\'s text'
complete -c netlab -n '__netlab_at serve-tcp' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at serve-tcp' -s q -l quiet -d 'Only the ready line and errors'
complete -c netlab -n '__netlab_at serve-tcp' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at serve-tcp' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at serve-tcp' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at serve-tcp' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at serve-tcp' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at serve-tcp' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at serve-tcp' -l backlog -x -d 'Connections that may wait to be accepted'
complete -c netlab -n '__netlab_at serve-tcp' -l idle-timeout -x -d 'Close a client that is silent for so long'
complete -c netlab -n '__netlab_at serve-tcp' -l max-clients -x -d 'Serve no more at once'
complete -c netlab -n '__netlab_at serve-tcp' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_first serve-tcp' -a '(__netlab_endpoints listen)'
complete -c netlab -n '__netlab_at serve-threaded' -s H -l host -x -a '127.0.0.1 localhost 0.0.0.0 ::1 ::' -d 'Host name or address'
complete -c netlab -n '__netlab_at serve-threaded' -s p -l port -x -a '9999 0' -d 'Port number or service name'
complete -c netlab -n '__netlab_at serve-threaded' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at serve-threaded' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at serve-threaded' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at serve-threaded' -l type -x -a 'stream seqpacket' -d 'Kind of unix socket'
complete -c netlab -n '__netlab_at serve-threaded' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at serve-threaded' -l mode -x -d 'Permissions of the unix socket file'
complete -c netlab -n '__netlab_at serve-threaded' -l reply -x -a 'ack echo discard generate broadcast' -d 'What a client gets back'
complete -c netlab -n '__netlab_at serve-threaded' -l ack-text -x -d 'The acknowledgement'
complete -c netlab -n '__netlab_at serve-threaded' -l eol -x -a 'none lf crlf' -d 'What ends an acknowledgement'
complete -c netlab -n '__netlab_at serve-threaded' -s C -d 'Same as --eol crlf'
complete -c netlab -n '__netlab_at serve-threaded' -l exit-word -x -d 'Word that ends a client\'s conversation'
complete -c netlab -n '__netlab_at serve-threaded' -l fault -x -a '(__netlab_faults delay=300ms rate=10k dribble=1B/10ms split-utf8 close-after=5B reset-after=5B half-close stall no-accept refuse-every=3 no-reply drop=10% corrupt=1% garbage list)' -d 'Misbehave on purpose'
complete -c netlab -n '__netlab_at serve-threaded' -l seed -x -d 'Let chance repeat itself: same number, same faults'
complete -c netlab -n '__netlab_at serve-threaded' -s 1 -l once -d 'End after one client'
complete -c netlab -n '__netlab_at serve-threaded' -l duration -x -d 'End after so long'
complete -c netlab -n '__netlab_at serve-threaded' -l stop-on-exit -d 'Let the exit word stop the server, too'
complete -c netlab -n '__netlab_at serve-threaded' -l ready-fd -x -d 'Write the endpoint to descriptor FD once clients can come'
complete -c netlab -n '__netlab_at serve-threaded' -s o -l output -r -F -d 'Write received bytes to FILE as they are'
complete -c netlab -n '__netlab_at serve-threaded' -s x -l hexdump -d 'Show bytes in hexadecimal'
complete -c netlab -n '__netlab_at serve-threaded' -l encoding -x -a 'utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' -d 'Encoding of the peer\'s text'
complete -c netlab -n '__netlab_at serve-threaded' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at serve-threaded' -s q -l quiet -d 'Only the ready line and errors'
complete -c netlab -n '__netlab_at serve-threaded' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at serve-threaded' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at serve-threaded' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at serve-threaded' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at serve-threaded' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at serve-threaded' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at serve-threaded' -l backlog -x -d 'Connections that may wait to be accepted'
complete -c netlab -n '__netlab_at serve-threaded' -l idle-timeout -x -d 'Close a client that is silent for so long'
complete -c netlab -n '__netlab_at serve-threaded' -l max-clients -x -d 'Serve no more at once'
complete -c netlab -n '__netlab_at serve-threaded' -l cpu -x -a 'auto none' -d 'Keep all threads on one CPU, which makes them faster'
complete -c netlab -n '__netlab_at serve-threaded' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_first serve-threaded' -a '(__netlab_endpoints listen)'
complete -c netlab -n '__netlab_at serve-udp' -s H -l host -x -a '127.0.0.1 localhost 0.0.0.0 ::1 ::' -d 'Host name or address'
complete -c netlab -n '__netlab_at serve-udp' -s p -l port -x -a '9999 0' -d 'Port number or service name'
complete -c netlab -n '__netlab_at serve-udp' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at serve-udp' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at serve-udp' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at serve-udp' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at serve-udp' -l mode -x -d 'Permissions of the unix socket file'
complete -c netlab -n '__netlab_at serve-udp' -l reply -x -a 'ack echo discard generate' -d 'What a client gets back'
complete -c netlab -n '__netlab_at serve-udp' -l ack-text -x -d 'The acknowledgement'
complete -c netlab -n '__netlab_at serve-udp' -l eol -x -a 'none lf crlf' -d 'What ends an acknowledgement'
complete -c netlab -n '__netlab_at serve-udp' -s C -d 'Same as --eol crlf'
complete -c netlab -n '__netlab_at serve-udp' -l exit-word -x -d 'Word that ends the server with --stop-on-exit'
complete -c netlab -n '__netlab_at serve-udp' -l fault -x -a '(__netlab_faults delay=300ms no-reply drop=10% duplicate=10% reorder=10% truncate=20B corrupt=1% garbage wrong-port list)' -d 'Misbehave on purpose'
complete -c netlab -n '__netlab_at serve-udp' -l seed -x -d 'Let chance repeat itself: same number, same faults'
complete -c netlab -n '__netlab_at serve-udp' -s 1 -l once -d 'End after one datagram is answered'
complete -c netlab -n '__netlab_at serve-udp' -l duration -x -d 'End after so long'
complete -c netlab -n '__netlab_at serve-udp' -l stop-on-exit -d 'Let the exit word stop the server, too'
complete -c netlab -n '__netlab_at serve-udp' -l ready-fd -x -d 'Write the endpoint to descriptor FD once clients can come'
complete -c netlab -n '__netlab_at serve-udp' -s o -l output -r -F -d 'Write received bytes to FILE as they are'
complete -c netlab -n '__netlab_at serve-udp' -s x -l hexdump -d 'Show bytes in hexadecimal'
complete -c netlab -n '__netlab_at serve-udp' -l encoding -x -a 'utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' -d 'Encoding of the peer\'s text'
complete -c netlab -n '__netlab_at serve-udp' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at serve-udp' -s q -l quiet -d 'Only the ready line and errors'
complete -c netlab -n '__netlab_at serve-udp' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at serve-udp' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at serve-udp' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at serve-udp' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at serve-udp' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at serve-udp' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at serve-udp' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_first serve-udp' -a '(__netlab_endpoints listen)'
complete -c netlab -n '__netlab_at send' -s H -l host -x -a '(__netlab_hosts; echo ::1)' -d 'Host name or address'
complete -c netlab -n '__netlab_at send' -s p -l port -x -a '(__netlab_list (__netlab_ports))' -d 'Port number or service name'
complete -c netlab -n '__netlab_at send' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at send' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at send' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at send' -l type -x -a 'stream seqpacket dgram' -d 'Kind of unix socket'
complete -c netlab -n '__netlab_at send' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at send' -s u -l udp -d 'UDP instead of TCP'
complete -c netlab -n '__netlab_at send' -s s -l source -x -a '127.0.0.1 [::1]' -d 'Local address to send from'
complete -c netlab -n '__netlab_at send' -s w -l timeout -x -d 'Longest wait for connecting, and for each reply'
complete -c netlab -n '__netlab_at send' -l wait -x -d 'Keep trying to connect for so long'
complete -c netlab -n '__netlab_at send' -s f -l file -r -F -d 'Send FILE as one stream'
complete -c netlab -n '__netlab_at send' -l hex -d 'MESSAGE is hex digits'
complete -c netlab -n '__netlab_at send' -s e -l escapes -d 'MESSAGE has \\r \\n \\t \\\\ \\0 \\xHH'
complete -c netlab -n '__netlab_at send' -l eol -x -a 'none lf crlf' -d 'Put this after each MESSAGE'
complete -c netlab -n '__netlab_at send' -s C -d 'Same as --eol crlf'
complete -c netlab -n '__netlab_at send' -l until -x -a 'none first line quiet close' -d 'When a reply is whole: none, first, line, quiet[:DURATION], close, SIZE'
complete -c netlab -n '__netlab_at send' -s N -l half-close -l no-half-close -d 'End the sending side after the last byte'
complete -c netlab -n '__netlab_at send' -l expect -x -d 'Succeed if the reply contains TEXT, as soon as it does'
complete -c netlab -n '__netlab_at send' -l expect-regex -x -d 'The same for a regular expression'
complete -c netlab -n '__netlab_at send' -l expect-echo -d 'Succeed if the reply is the MESSAGE itself'
complete -c netlab -n '__netlab_at send' -s c -l count -x -d 'Exchanges in all'
complete -c netlab -n '__netlab_at send' -s j -l jobs -x -d 'Connections at a time'
complete -c netlab -n '__netlab_at send' -s i -l interval -x -d 'Time between exchanges on a connection'
complete -c netlab -n '__netlab_at send' -l rate -x -d 'Exchanges a second, by a schedule'
complete -c netlab -n '__netlab_at send' -l reconnect -d 'A connection for each exchange'
complete -c netlab -n '__netlab_at send' -l duration -x -d 'Repeat for so long'
complete -c netlab -n '__netlab_at send' -l deadline -x -d 'End the whole run after so long'
complete -c netlab -n '__netlab_at send' -s o -l output -r -F -d 'Write received bytes to FILE as they are'
complete -c netlab -n '__netlab_at send' -s x -l hexdump -d 'Show bytes in hexadecimal'
complete -c netlab -n '__netlab_at send' -l encoding -x -a 'utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' -d 'Encoding of the peer\'s text'
complete -c netlab -n '__netlab_at send' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at send' -s q -l quiet -d 'Only the reply and errors'
complete -c netlab -n '__netlab_at send' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at send' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at send' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at send' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at send' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at send' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at send' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_first send' -a '(__netlab_endpoints target)'
complete -c netlab -n '__netlab_at chat' -s H -l host -x -a '(__netlab_hosts; echo ::1)' -d 'Host name or address'
complete -c netlab -n '__netlab_at chat' -s p -l port -x -a '(__netlab_list (__netlab_ports))' -d 'Port number or service name'
complete -c netlab -n '__netlab_at chat' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at chat' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at chat' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at chat' -l type -x -a 'stream seqpacket dgram' -d 'Kind of unix socket'
complete -c netlab -n '__netlab_at chat' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at chat' -s u -l udp -d 'UDP instead of TCP'
complete -c netlab -n '__netlab_at chat' -s s -l source -x -a '127.0.0.1 [::1]' -d 'Local address to send from'
complete -c netlab -n '__netlab_at chat' -s w -l timeout -x -d 'Longest wait for connecting'
complete -c netlab -n '__netlab_at chat' -l wait -x -d 'Keep trying to connect for so long'
complete -c netlab -n '__netlab_at chat' -s l -l listen -d 'Wait for a peer instead, and accept one'
complete -c netlab -n '__netlab_at chat' -l eol -x -a 'none lf crlf' -d 'Put this after each line'
complete -c netlab -n '__netlab_at chat' -s C -d 'Same as --eol crlf'
complete -c netlab -n '__netlab_at chat' -l exit-word -x -d 'Line that ends the conversation once it is sent'
complete -c netlab -n '__netlab_at chat' -s o -l output -r -F -d 'Write received bytes to FILE as they are'
complete -c netlab -n '__netlab_at chat' -s x -l hexdump -d 'Show bytes in hexadecimal'
complete -c netlab -n '__netlab_at chat' -l encoding -x -a 'utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' -d 'Encoding of the peer\'s text'
complete -c netlab -n '__netlab_at chat' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at chat' -s q -l quiet -d 'Only what the peer sends, and errors'
complete -c netlab -n '__netlab_at chat' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at chat' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at chat' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at chat' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at chat' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at chat' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at chat' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_first chat' -a '(__netlab_endpoints target)'
complete -c netlab -n '__netlab_at probe' -s H -l host -x -a '(__netlab_hosts; echo ::1)' -d 'Host name or address'
complete -c netlab -n '__netlab_at probe' -s p -l port -x -a '(__netlab_list (__netlab_ports))' -d 'Ports of targets that have none: 443, https, 22,80,8000-8100'
complete -c netlab -n '__netlab_at probe' -s U -l unix -r -F -d 'Unix socket'
complete -c netlab -n '__netlab_at probe' -s 4 -l ipv4 -d 'IPv4 only'
complete -c netlab -n '__netlab_at probe' -s 6 -l ipv6 -d 'IPv6 only'
complete -c netlab -n '__netlab_at probe' -l type -x -a 'stream seqpacket dgram' -d 'Kind of unix socket'
complete -c netlab -n '__netlab_at probe' -l set -x -a '(__netlab_settings)' -d 'Set a socket option by name, such as SO_RCVBUF=64k'
complete -c netlab -n '__netlab_at probe' -s u -l udp -d 'UDP instead of TCP'
complete -c netlab -n '__netlab_at probe' -s s -l source -x -a '127.0.0.1 [::1]' -d 'Local address to send from'
complete -c netlab -n '__netlab_at probe' -s w -l timeout -x -d 'Longest wait for an answer'
complete -c netlab -n '__netlab_at probe' -l wait -x -d 'Keep trying to connect for so long'
complete -c netlab -n '__netlab_at probe' -s f -l file -r -F -d 'More targets, one a line'
complete -c netlab -n '__netlab_at probe' -l payload -x -a 'proto:dns proto:ntp proto:snmp proto:stun' -d 'UDP: what to send: TEXT, @FILE, hex:DIGITS, proto:dns'
complete -c netlab -n '__netlab_at probe' -l loopback -d 'Probe a listener of netlab\'s own'
complete -c netlab -n '__netlab_at probe' -l header-included -d 'ICMP: build the IPv4 header here, and show it'
complete -c netlab -n '__netlab_at probe' -l deadline -x -d 'End the whole run after so long'
complete -c netlab -n '__netlab_at probe' -s c -l count -x -d 'Attempts, with figures at the end'
complete -c netlab -n '__netlab_at probe' -s i -l interval -x -d 'Time between attempts'
complete -c netlab -n '__netlab_at probe' -l duration -x -d 'Repeat for so long'
complete -c netlab -n '__netlab_at probe' -s j -l jobs -x -d 'Attempts at a time'
complete -c netlab -n '__netlab_at probe' -l rate -x -d 'Attempts a second, 0 without limit'
complete -c netlab -n '__netlab_at probe' -l options -d 'Show the socket options that matter'
complete -c netlab -n '__netlab_at probe' -l all-options -d 'Show every socket option this kernel answers'
complete -c netlab -n '__netlab_at probe' -l tcp-info -d 'Show all that the kernel knows of the connection'
complete -c netlab -n '__netlab_at probe' -l ok-if -x -a '(__netlab_list open refused closed unreachable denied missing timeout no-answer busy unresolved error)' -d 'Verdicts that count as yes, such as open,busy: 0, else 1'
complete -c netlab -n '__netlab_at probe' -l any -d 'One target that is a yes is enough'
complete -c netlab -n '__netlab_at probe' -l json -d 'One JSON object a line'
complete -c netlab -n '__netlab_at probe' -s q -l quiet -d 'Only the exit status, and errors of use'
complete -c netlab -n '__netlab_at probe' -s v -l verbose -d 'More detail'
complete -c netlab -n '__netlab_at probe' -l color -x -a 'auto always never' -d 'When to colour the output'
complete -c netlab -n '__netlab_at probe' -l trace -d 'Write a line for every socket call to stderr'
complete -c netlab -n '__netlab_at probe' -l diagram -d 'Draw the calls of client and server at the end'
complete -c netlab -n '__netlab_at probe' -l trace-file -r -F -d 'Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg'
complete -c netlab -n '__netlab_at probe' -l trace-peer -r -F -d 'Show the other program\'s calls, too, from its --trace-file FILE.jsonl'
complete -c netlab -n '__netlab_at probe' -s h -l help -d 'Show this message and exit'
complete -c netlab -n '__netlab_at probe' -a '(__netlab_endpoints target)'
