#!/bin/sh
# Chromium and Firefox for the browser tests, nginx, behind which the page is tried, espeak-ng, which speaks for the tests
# of sounds, and ip, which makes the network of several nodes. Where they cannot be installed, those tests say so and are
# skipped.
PATH="$PATH:/usr/sbin"
missing=""
for program in chromium firefox-esr nginx espeak-ng ip; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # RUNLEVEL=1: Debian does not start nginx as a service.
    apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends chromium firefox-esr fonts-dejavu-core nginx-light espeak-ng iproute2 >/dev/null && exit 0
fi
echo "not installed:$missing: tests that need them will be skipped (Debian: apt-get install chromium firefox-esr nginx-light espeak-ng iproute2)"
