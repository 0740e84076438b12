#!/bin/sh
# Sends ten requests a second to the VIP for ever, and prints a line a second: the nodes that answered, and the lost requests.
while :; do
    round=0 lost=0 answers=""
    while [ "$round" -lt 10 ]; do
        if answer=$(curl --silent --fail --max-time 0.5 http://198.51.100.10/); then
            answers="$answers $answer"
        else
            lost=$((lost + 1))
        fi
        round=$((round + 1))
        sleep 0.1
    done
    counts=$(printf '%s\n' $answers | sort | uniq -c | tr -s ' \n' ' ')
    echo "$(date +%T) answered:${counts:- none}lost: $lost"
done
