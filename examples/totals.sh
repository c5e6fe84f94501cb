# Adds up sales.csv for the regions that standard input names, and writes totals.json.
set -euo pipefail

wanted=($(cat))
declare -A cents
while IFS=, read -r region _ units price; do
  cents[$region]=$((${cents[$region]:-0} + units * 10#${price/./}))
done < <(tail -n +2 sales.csv)

json=
for region in "${wanted[@]}"; do
  total=$((${cents[$region]} / 100)).$(printf %02d $((${cents[$region]} % 100)))
  printf '%-8s%10s\n' "$region" "$total"
  json+=${json:+, }\"$region\":\ $total
done
echo "{$json}" >totals.json
