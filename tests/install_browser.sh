#!/bin/sh
# Chromium for the browser tests. Where it cannot be installed, those tests say so and are skipped.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null && exit 0
fi
echo "chromium is not installed: the browser tests will be skipped (Debian: apt-get install chromium)"
