#!/bin/sh
# Chromium for the browser tests, and nginx, behind which the page is tried. Where they cannot be installed, those tests
# say so and are skipped.
PATH="$PATH:/usr/sbin"
command -v chromium >/dev/null 2>&1 && command -v nginx >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # RUNLEVEL=1: Debian does not start nginx as a service.
    apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core nginx-light >/dev/null && exit 0
fi
echo "chromium and nginx are not both installed: browser tests will be skipped (Debian: apt-get install chromium nginx-light)"
