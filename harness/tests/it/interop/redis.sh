#!/usr/bin/env bash
# redis-cli at the other end. See common.py for how it is called.
set -euo pipefail
pattern=$1 action=$2 url=$3 name=$4 count=$5

case $pattern-$action in
oneway-send)
    while read -r _ body; do
        base64 -d <<<"$body" | redis-cli -u "$url" -x RPUSH "$name:list" >/dev/null
    done
    ;;
oneway-receive)
    echo ready
    for _ in $(seq "$count"); do
        # It puts a line feed behind what it prints.
        echo "- $(redis-cli -u "$url" --raw BLPOP "$name:list" 200 | tail -c +$((${#name} + 7)) | head -c -1 | base64 -w0)"
    done
    ;;
pubsub-publish)
    while read -r topic body; do
        base64 -d <<<"$body" | redis-cli -u "$url" -x PUBLISH "$name:$topic" >/dev/null
    done
    ;;
pubsub-subscribe)
    exec 3< <(exec redis-cli -u "$url" --no-raw PSUBSCRIBE "$name:*")
    client=$!
    trap 'kill "$client"' EXIT
    while [ "$count" -gt 0 ] && read -r number text <&3; do
        # A message is: 1) "pmessage" 2) its pattern 3) its channel 4) its body.
        case $number in
        1\)) kind=$text ;;
        3\)) if [ "$kind" = '"psubscribe"' ]; then echo ready; else topic=${text#"\"$name:"}; fi ;;
        4\))
            # printf knows every escape of redis-cli's but that of a quotation mark.
            body=${text#\"} body=${body%\"} body=${body//\\\"/\\x22}
            echo "${topic%\"} $(printf %b "$body" | base64 -w0)"
            count=$((count - 1))
            ;;
        esac
    done
    ;;
esac
