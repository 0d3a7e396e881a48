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
@COMMANDS@
    esac
}

# What the value of option $1 can be.
__netlab_option() {
    case $command,$1 in
@OPTIONS@
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
        [[ $kind != command ]] || kind="words @NAMES@"
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
    local protocol=tcp names="@TCP_SERVICES@" file line port
    local -a lines fields
    [[ -z $udp ]] || protocol=udp names="@UDP_SERVICES@"
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
            list+=" @SCHEMES@"
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
        __netlab_words "@SETTINGS@"
    elif [[ " @FLAGS@ " == *" $name "* ]]; then
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
    local values=' @VALUES@ '
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
