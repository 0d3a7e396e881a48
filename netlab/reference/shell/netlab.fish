# fish completion for netlab.  Generated from netlab's commands; do not edit.
#
#     mkdir -p ~/.config/fish/completions
#     netlab --completion fish > ~/.config/fish/completions/netlab.fish

function __netlab_arguments -d 'The words before the cursor that are no options and no values of options'
    set -l values @VALUES@
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
    set -l names @TCP_SERVICES@
    if string match -qr '^(-u|--udp)$' -- (commandline -opc); or string match -qr '^udp:' -- "$argv[2]"
        set protocol udp
        set names @UDP_SERVICES@
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
        test -n "$scheme"; or printf '%s\n' @SCHEMES@
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
        printf '%s\n' @SETTINGS@
    else if contains -- $name @FLAGS@
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
@COMPLETIONS@
