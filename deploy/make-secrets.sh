#!/bin/sh
# Makes the secrets of compose.yaml that are not there yet, in deploy/secrets. Nobody but their owner gets into the
# folder; within, they are readable, since each container reads its own as a user of its own.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
umask 022

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in redis_password api_token grafana_password; do
    [ -s "$name" ] || random >"$name"
done
[ -s xagent_config ] || printf '[queues.docket]\nurl = "redis://:%s@redis:6379/0"\n' "$(cat redis_password)" >xagent_config
# Where Alertmanager writes to: put your own address here.
[ -s slack_url ] || echo 'https://hooks.slack.com/services/REPLACE/ME' >slack_url
