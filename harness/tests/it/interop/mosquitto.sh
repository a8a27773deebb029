#!/usr/bin/env bash
# mosquitto_pub and mosquitto_sub at the other end. See common.py for how it is called.
set -euo pipefail
pattern=$1 action=$2 url=$3 name=$4 count=$5
address=${url#*://}
server=(-h "${address%:*}" -p "${address##*:}")

case $pattern-$action in
*-send | *-publish)
    while read -r topic body; do
        to=$name/messages
        if [ "$topic" != - ]; then to=$name/${topic//.//}; fi
        if [ -n "$body" ]; then
            base64 -d <<<"$body" | mosquitto_pub "${server[@]}" -q 1 -t "$to" -s
        else
            mosquitto_pub "${server[@]}" -q 1 -t "$to" -n
        fi
    done
    ;;
*-receive | *-subscribe)
    # Debug output says when the subscription stands; a message is its topic and its body in hex.
    exec 3< <(exec stdbuf -oL mosquitto_sub "${server[@]}" -d -q 1 -C "$count" -t "$name/#" -F '%t %x')
    while read -r first body <&3; do
        case $first in
        Subscribed) echo ready ;;
        "$name/messages") echo "- $(printf %b "$(sed 's/../\\x&/g' <<<"$body")" | base64 -w0)" ;;
        "$name"/*)
            topic=${first#"$name"/}
            echo "${topic//\//.} $(printf %b "$(sed 's/../\\x&/g' <<<"$body")" | base64 -w0)"
            ;;
        esac
    done
    ;;
esac
