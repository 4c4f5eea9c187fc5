#!/bin/sh
# Make the configs and secrets that the stack needs and that this swarm does not have:
#
#     helm template kafka-exporter . -f my-values.yaml --set show=objects | sh create-objects.sh
#
# They are never changed: what is in one decides its name. What is in a secret goes from helm to docker, and is printed
# nowhere.
set -eu
found=0
while IFS=' ' read -r key data; do
    case $key in
        config.*) kind=config ;;
        secret.*) kind=secret ;;
        *) continue ;;
    esac
    name=${key#*.}
    name=${name%:}
    found=$((found + 1))
    if docker "$kind" inspect "$name" >/dev/null 2>&1 </dev/null; then
        echo "$kind $name is there"
    else
        printf %s "$data" | base64 -d | docker "$kind" create --label app=kafka-exporter "$name" - >/dev/null
        echo "$kind $name made"
    fi
done
if [ "$found" -eq 0 ]; then
    echo "Nothing came in: did helm end with an error, and was it given --set show=objects?" >&2
    exit 1
fi
