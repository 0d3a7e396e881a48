# bash completion for netlab (bash 4.4 or later)                            -*- shell-script -*-
# Generated from netlab's commands; do not edit.
#
# With bash-completion installed:
#     mkdir -p ~/.local/share/bash-completion/completions
#     netlab --completion bash > ~/.local/share/bash-completion/completions/netlab
# Without it: netlab --completion bash > ~/.netlab.bash, and in ~/.bashrc:  source ~/.netlab.bash
#
# Bash's own words are cut at : and =, or not, as COMP_WORDBREAKS says.  So the line is split here, whole words are
# made, and what readline will not replace is cut off at the end.  compgen -W expands $(...) in its words: whatever
# comes from a file is reduced to harmless characters first.

# What can follow $command: its options, and the kinds of its arguments; + is for those that repeat.
__netlab_command() {
    case $command in
        '')
            options='--version --completion -h --help'
            arguments='command'
            ;;
        serve-tcp)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --type --set --concurrent --mode --reply --ack-text --eol -C --exit-word --fault --seed -1 --once --duration --stop-on-exit --ready-fd -o --output -x --hexdump --encoding --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer --backlog --idle-timeout --max-clients -h --help'
            arguments='listen'
            ;;
        serve-threaded)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --type --set --mode --reply --ack-text --eol -C --exit-word --fault --seed -1 --once --duration --stop-on-exit --ready-fd -o --output -x --hexdump --encoding --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer --backlog --idle-timeout --max-clients --cpu -h --help'
            arguments='listen'
            ;;
        serve-udp)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --set --mode --reply --ack-text --eol -C --exit-word --fault --seed -1 --once --duration --stop-on-exit --ready-fd -o --output -x --hexdump --encoding --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer -h --help'
            arguments='listen'
            ;;
        send)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --type --set -u --udp -s --source -w --timeout --wait -f --file --hex -e --escapes --eol -C --until -N --half-close --no-half-close --expect --expect-regex --expect-echo -c --count -j --jobs -i --interval --rate --reconnect --duration --deadline -o --output -x --hexdump --encoding --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer -h --help'
            arguments='target text+'
            ;;
        chat)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --type --set -u --udp -s --source -w --timeout --wait -l --listen --eol -C --exit-word -o --output -x --hexdump --encoding --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer -h --help'
            arguments='target'
            ;;
        probe)
            options='-H --host -p --port -U --unix -4 --ipv4 -6 --ipv6 --type --set -u --udp -s --source -w --timeout --wait -f --file --payload --loopback --header-included --deadline -c --count -i --interval --duration -j --jobs --rate --options --all-options --tcp-info --ok-if --any --json -q --quiet -v --verbose --color --trace --diagram --trace-file --trace-peer -h --help'
            arguments='target+'
            ;;
    esac
}

# What the value of option $1 can be.
__netlab_option() {
    case $command,$1 in
        *,--completion) kind='words bash zsh fish' ;;
        serve-tcp,-H | serve-threaded,-H | serve-udp,-H | serve-tcp,--host | serve-threaded,--host | serve-udp,--host) kind='words 127.0.0.1 localhost 0.0.0.0 ::1 ::' ;;
        send,-H | chat,-H | probe,-H | send,--host | chat,--host | probe,--host) kind=host ;;
        serve-tcp,-p | serve-threaded,-p | serve-udp,-p | serve-tcp,--port | serve-threaded,--port | serve-udp,--port) kind='words 9999 0' ;;
        send,-p | chat,-p | probe,-p | send,--port | chat,--port | probe,--port) kind=port ;;
        *,-U | *,--unix | *,-o | *,--output | *,--trace-file | *,--trace-peer | *,-f | *,--file) kind=file ;;
        serve-tcp,--type | serve-threaded,--type) kind='words stream seqpacket' ;;
        send,--type | chat,--type | probe,--type) kind='words stream seqpacket dgram' ;;
        *,--set) kind=setting ;;
        serve-tcp,--reply | serve-threaded,--reply) kind='words ack echo discard generate broadcast' ;;
        serve-udp,--reply) kind='words ack echo discard generate' ;;
        *,--eol) kind='words none lf crlf' ;;
        serve-tcp,--fault | serve-threaded,--fault) kind='fault delay=300ms rate=10k dribble=1B/10ms split-utf8 close-after=5B reset-after=5B half-close stall no-accept refuse-every=3 no-reply drop=10% corrupt=1% garbage list' ;;
        serve-udp,--fault) kind='fault delay=300ms no-reply drop=10% duplicate=10% reorder=10% truncate=20B corrupt=1% garbage wrong-port list' ;;
        *,--encoding) kind='words utf-8 gbk gb18030 big5 shift_jis euc-kr latin-1 cp1252 ascii' ;;
        *,--color) kind='words auto always never' ;;
        *,--cpu) kind='words auto none' ;;
        *,-s | *,--source) kind='words 127.0.0.1 [::1]' ;;
        *,--until) kind='words none first line quiet close' ;;
        *,--payload) kind='words proto:dns proto:ntp proto:snmp proto:stun' ;;
        *,--ok-if) kind='list open refused closed unreachable denied missing timeout no-answer busy unresolved error' ;;
    esac
}

# Split $1 into words as a shell does.  quote is the quote left open in the last word, head what stands before it.
__netlab_split() {
    local rest=$1 run word="" between=1
    while [[ -n $rest ]]; do
        case $quote in
            "'") run=${rest%%\'*} ;;
            '"') run=${rest%%[\"\\]*} ;;
            *) run=${rest%%[\'\"\\[:space:]]*} ;;
        esac
        if [[ -n $run ]]; then
            word+=$run between="" rest=${rest:${#run}}
            continue
        fi
        case $quote${rest:0:1} in
            "''" | '""') quote="" ;;
            "'" | '"') quote=${rest:0:1} head=$word between="" ;;
            '"\' | '\') rest=${rest:1} word+=${rest:0:1} between="" ;;
            *)
                [[ -n $between ]] || words+=("$word")
                word="" between=1
                ;;
        esac
        rest=${rest:1}
    done
    words+=("$word")
}

# Read the words before the last one: the command, how many arguments it has, and the option that awaits a value.
__netlab_read() {
    local word i j
    __netlab_command
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ -n $option ]]; then
            option=""
            continue
        fi
        case $ended$word in
            --) ended=-- ;;
            --*=*) ;;
            --*) [[ $values != *" $word "* ]] || option=$word ;;
            -?*)
                # Of a cluster such as -vw the first that takes a value has the rest, or else the next word.
                for ((j = 1; j < ${#word}; j++)); do
                    [[ $values == *" -${word:j:1} "* ]] || continue
                    ((j < ${#word} - 1)) || option=-${word:j:1}
                    break
                done
                ;;
            *)
                if [[ $word =~ ^[0-9]*[\<\>]+\&?(.*)$ ]]; then
                    [[ -n ${BASH_REMATCH[1]} ]] || option="<" # a redirection, its file apart
                elif [[ $arguments == command ]]; then
                    command=$word options="" arguments=""
                    __netlab_command
                else
                    count=$((count + 1))
                fi
                ;;
        esac
        case $ended$word in
            --host | --host=* | -H* | --port | --port=* | -p* | --unix | --unix=* | -U*) placed=1 ;;
            --udp | -u) udp=1 ;;
        esac
    done
}

# Set kind to what the word at the cursor is, value to its part that is to be completed, prefix to the rest of it.
__netlab_place() {
    local -a kinds
    value=$1 prefix="" kind=""
    if [[ $option == "<" ]]; then
        kind=file
    elif [[ -n $option ]]; then
        __netlab_option "$option"
    elif [[ -z $head && $value =~ ^[0-9]*[\<\>]+\&? ]]; then
        prefix=${BASH_REMATCH[0]} value=${value#"${BASH_REMATCH[0]}"} kind=file
    elif [[ -z $ended && $value == --*=* ]]; then
        prefix=${value%%=*}= value=${value#*=}
        __netlab_option "${prefix%=}"
    elif [[ -z $ended && $value == -[!-]?* && $values == *" ${value:0:2} "* ]]; then
        prefix=${value:0:2} value=${value:2}
        __netlab_option "$prefix"
    elif [[ -z $ended && $value == -* ]]; then
        kind="words $options"
    else
        kinds=($arguments)
        # -H, -p and -U stand for a single endpoint.
        if [[ -n $placed && ${kinds[0]} == @(target|listen) ]]; then kinds=("${kinds[@]:1}"); fi
        if ((${#kinds[@]} && count >= ${#kinds[@]})) && [[ ${kinds[-1]} == *+ ]]; then kinds[count]=${kinds[-1]}; fi
        kind=${kinds[count]%+}
        [[ $kind != command ]] || kind="words serve-tcp serve-threaded serve-udp send chat probe"
    fi
}

# Add the words of $1 that begin with value.
__netlab_words() {
    local -a found
    mapfile -t found < <(compgen -W "$1" -- "$value")
    COMPREPLY+=("${found[@]/#/$prefix}")
}

# Add the files that value begins.
__netlab_files() {
    local -a found
    mapfile -t found < <(compgen -f -- "$value")
    COMPREPLY+=("${found[@]/#/$prefix}")
    files=1
}

# Add a comma list's next item, one of $1 that is not in it yet.
__netlab_list() {
    local items=${value%"${value##*,}"} left="" word
    for word in $1; do
        [[ ,$items == *",$word,"* ]] || left+=" $word"
    done
    prefix+=$items value=${value##*,}
    __netlab_words "$left"
}

# Set list to the hosts in /etc/hosts and known_hosts, $1 after each.
__netlab_hosts() {
    local -a found=() lines=()
    local file
    for file in ~/.ssh/known_hosts ~/.ssh/known_hosts2 /etc/ssh/ssh_known_hosts; do
        [[ -r $file ]] || continue
        mapfile -t lines <"$file"
        lines=("${lines[@]/ */}")
        found+=(${lines[@]//,/ })
    done
    if [[ ${found[*]} == *\[* ]]; then # [host]:port
        found=("${found[@]#\[}")
        found=("${found[@]%\]:*}")
    fi
    if [[ -r /etc/hosts ]]; then
        mapfile -t lines </etc/hosts
        found+=(${lines[@]%%#*})
    fi
    found=(${found[@]//*[!A-Za-z0-9._-]*/}) # none that is hashed, a comment, marked, or no plain name
    list=${found[*]/%/$1}
}

# Set list to ports of the host $1: on this host those with a listener, everywhere 9999 and some well-known names.
__netlab_ports() {
    local protocol=tcp names="ftp ssh smtp domain http imap2 ldap https mysql postgresql" file line port
    local -a lines fields
    [[ -z $udp ]] || protocol=udp names="domain ntp snmp syslog"
    [[ -r /etc/services ]] || names=""
    list="9999 $names"
    case $1 in
        "" | localhost | *.localhost | 127.* | ::1 | "[::1]") ;;
        *) return ;;
    esac
    for file in "/proc/net/$protocol" "/proc/net/${protocol}6"; do
        [[ -r $file ]] || continue
        mapfile -t -n 500 lines <"$file"
        for line in "${lines[@]:1}"; do
            fields=($line) # slot, local address, remote address, state
            case $protocol,${fields[3]},${fields[2]} in
                tcp,0A,* | udp,*:0000) ;;
                tcp,*) break ;; # listeners come first
                *) continue ;;
            esac
            case ${fields[1]} in # 127.x.x.x, 0.0.0.0, and the same in IPv6
                *7F:* | 00000000:* | 00000000000000000000000000000000:* | 00000000000000000000000001000000:*)
                    port=$((16#${fields[1]##*:}))
                    [[ " $list " == *" $port "* ]] || list+=" $port"
                    ;;
            esac
        done
    done
}

# Add endpoints: HOST:PORT, [::1]:PORT, PORT, unix:PATH, with a scheme in front or not.
__netlab_endpoint() {
    local list
    if [[ $value =~ ^(tcp|udp|icmp|unix|unix-dgram|unix-seqpacket):(//)? ]]; then
        prefix+=${BASH_REMATCH[0]} value=${value#"${BASH_REMATCH[0]}"}
        case ${BASH_REMATCH[1]} in
            unix*)
                __netlab_files
                return
                ;;
            icmp)
                __netlab_hosts ""
                __netlab_words "$list ::1"
                return
                ;;
            udp) udp=1 ;;
        esac
    fi
    if [[ $value == \[*\]:* || ($value == *:* && $value != \[*) ]]; then
        list="9999 0"
        [[ $kind == listen ]] || __netlab_ports "${value%:*}"
        prefix+=${value%:*}: value=${value##*:}
        __netlab_list "$list"
    else
        list="127.0.0.1: 0.0.0.0: localhost: [::]: unix:"
        if [[ $kind == target ]]; then
            __netlab_hosts :
            list+=" udp: icmp: unix:"
        fi
        __netlab_words "$list [::1]:"
        if [[ $kind == target && $value == [0-9]* ]]; then
            __netlab_ports ""
            __netlab_list "$list"
        fi
    fi
}

# Add socket options, and the values of those that are on or off.
__netlab_setting() {
    local name=${value%%=*}
    if [[ $value != *=* ]]; then
        __netlab_words "SO_REUSEADDR= SO_REUSEPORT= SO_KEEPALIVE= SO_BROADCAST= SO_DONTROUTE= SO_OOBINLINE= SO_LINGER= SO_RCVBUF= SO_SNDBUF= SO_RCVLOWAT= SO_RCVTIMEO= SO_SNDTIMEO= SO_PRIORITY= SO_MARK= SO_RCVMARK= SO_BINDTODEVICE= SO_BINDTOIFINDEX= SO_INCOMING_CPU= SO_MAX_PACING_RATE= SO_BUSY_POLL= SO_PREFER_BUSY_POLL= SO_ZEROCOPY= SO_RXQ_OVFL= SO_TIMESTAMP= SO_TIMESTAMPNS= SO_TIMESTAMPING= SO_PEEK_OFF= SO_BUF_LOCK= SO_TXREHASH= SO_DEBUG= SO_PASSCRED= SO_PASSSEC= TCP_NODELAY= TCP_MAXSEG= TCP_CORK= TCP_KEEPIDLE= TCP_KEEPINTVL= TCP_KEEPCNT= TCP_SYNCNT= TCP_LINGER2= TCP_DEFER_ACCEPT= TCP_WINDOW_CLAMP= TCP_QUICKACK= TCP_CONGESTION= TCP_USER_TIMEOUT= TCP_FASTOPEN= TCP_FASTOPEN_CONNECT= TCP_FASTOPEN_NO_COOKIE= TCP_NOTSENT_LOWAT= TCP_THIN_LINEAR_TIMEOUTS= TCP_SAVE_SYN= TCP_ULP= TCP_INQ= TCP_TX_DELAY= TCP_RTO_MAX_MS= TCP_RTO_MIN_US= TCP_DELACK_MAX_US= UDP_CORK= UDP_SEGMENT= UDP_GRO= UDP_NO_CHECK6_TX= UDP_NO_CHECK6_RX= IP_TOS= IP_TTL= IP_MTU_DISCOVER= IP_RECVERR= IP_RECVTTL= IP_RECVTOS= IP_PKTINFO= IP_RECVORIGDSTADDR= IP_RECVFRAGSIZE= IP_FREEBIND= IP_TRANSPARENT= IP_MINTTL= IP_BIND_ADDRESS_NO_PORT= IP_LOCAL_PORT_RANGE= IP_UNICAST_IF= IP_MULTICAST_IF= IP_MULTICAST_TTL= IP_MULTICAST_LOOP= IP_MULTICAST_ALL= IP_HDRINCL= IPV6_V6ONLY= IPV6_UNICAST_HOPS= IPV6_TCLASS= IPV6_MTU= IPV6_MTU_DISCOVER= IPV6_DONTFRAG= IPV6_RECVERR= IPV6_RECVPKTINFO= IPV6_RECVHOPLIMIT= IPV6_RECVTCLASS= IPV6_MINHOPCOUNT= IPV6_AUTOFLOWLABEL= IPV6_ADDR_PREFERENCES= IPV6_FREEBIND= IPV6_TRANSPARENT= IPV6_UNICAST_IF= IPV6_MULTICAST_IF= IPV6_MULTICAST_HOPS= IPV6_MULTICAST_LOOP= IPV6_MULTICAST_ALL= ICMP_FILTER="
    elif [[ " SO_REUSEADDR SO_REUSEPORT SO_KEEPALIVE SO_BROADCAST SO_DONTROUTE SO_OOBINLINE SO_RCVMARK SO_PREFER_BUSY_POLL SO_ZEROCOPY SO_RXQ_OVFL SO_TIMESTAMP SO_TIMESTAMPNS SO_TXREHASH SO_DEBUG SO_PASSCRED SO_PASSSEC TCP_NODELAY TCP_CORK TCP_QUICKACK TCP_FASTOPEN_CONNECT TCP_FASTOPEN_NO_COOKIE TCP_THIN_LINEAR_TIMEOUTS TCP_INQ UDP_CORK UDP_GRO UDP_NO_CHECK6_TX UDP_NO_CHECK6_RX IP_RECVERR IP_RECVTTL IP_RECVTOS IP_PKTINFO IP_RECVORIGDSTADDR IP_RECVFRAGSIZE IP_FREEBIND IP_TRANSPARENT IP_BIND_ADDRESS_NO_PORT IP_MULTICAST_LOOP IP_MULTICAST_ALL IP_HDRINCL IPV6_V6ONLY IPV6_DONTFRAG IPV6_RECVERR IPV6_RECVPKTINFO IPV6_RECVHOPLIMIT IPV6_RECVTCLASS IPV6_AUTOFLOWLABEL IPV6_FREEBIND IPV6_TRANSPARENT IPV6_MULTICAST_LOOP IPV6_MULTICAST_ALL " == *" $name "* ]]; then
        prefix+=$name= value=${value#*=}
        __netlab_words "0 1"
    fi
}

# Add names of faults, and behind = the value of the one in $1.
__netlab_fault() {
    local -a found=($1)
    [[ $value == *=* ]] || found=("${found[@]/=*/=}")
    __netlab_words "${found[*]}"
}

# Cut off what readline does not replace: up to an open quote, else up to the last character that breaks words.
__netlab_cut() {
    local cut="" part char i
    if [[ -n $quote ]]; then
        cut=$head
    else
        for char in : = @ "<" ">"; do
            if [[ $COMP_WORDBREAKS == *"$char"* && $1 == *"$char"* ]]; then
                part=${1%"${1##*"$char"}"}
                ((${#part} <= ${#cut})) || cut=$part
            fi
        done
    fi
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    if [[ -n $files && ${#cut} -ge ${#prefix} ]]; then
        compopt -o filenames
    elif [[ -n $files ]]; then
        # With something in front they are no files to readline: the slash and the quotes are up to us.
        for i in "${!COMPREPLY[@]}"; do
            part=${COMPREPLY[i]#"${prefix#"$cut"}"}
            [[ ! -d ${part/#~\//$HOME/} ]] || COMPREPLY[i]+=/
            [[ -n $quote || $part != *[!A-Za-z0-9._/~,+%:@=-]* ]] || printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}"
        done
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=/] ]]; then compopt -o nospace; fi
}

_netlab() {
    local - IFS=$' \t\n'
    set +u -f
    local values=' --completion -H --host -p --port -U --unix --type --set --mode --reply --ack-text --eol --exit-word --fault --seed --duration --ready-fd -o --output --encoding --color --trace-file --trace-peer --backlog --idle-timeout --max-clients --cpu -s --source -w --timeout --wait -f --file --until --expect --expect-regex -c --count -j --jobs -i --interval --rate --deadline --payload --ok-if '
    local command="" options="" arguments="" # of the command
    local quote="" head="" ended="" option="" placed="" udp="" count=0 # of the line
    local value="" prefix="" kind="" files=""
    local -a words=()
    COMPREPLY=()
    __netlab_split "${COMP_LINE:0:COMP_POINT}"
    __netlab_read
    __netlab_place "${words[-1]}"
    case $kind in
        words\ *) __netlab_words "${kind#words }" ;;
        list\ *) __netlab_list "${kind#list }" ;;
        fault\ *) __netlab_fault "${kind#fault }" ;;
        file) __netlab_files ;;
        host)
            local list
            __netlab_hosts ""
            __netlab_words "$list ::1"
            ;;
        port)
            local list
            __netlab_ports ""
            __netlab_list "$list"
            ;;
        target | listen) __netlab_endpoint ;;
        setting) __netlab_setting ;;
    esac
    __netlab_cut "${words[-1]}"
}

complete -F _netlab netlab
