#!/usr/bin/env bash
# What the tests in a real browser need: node's packages (versions held by tests/web/package-lock.json), and Chromium.
# Run it again whenever you like: what is there stays. Tests that need these are skipped without them.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v npm >/dev/null || { echo "setup_web: npm is missing; install Node.js 20 or later" >&2; exit 2; }
# npm writes .package-lock.json last, so a newer one means that the locked versions are all there.
if [ ! tests/web/node_modules/.package-lock.json -nt tests/web/package-lock.json ]; then
    echo "setup_web: three.js, playwright-core, gltf-validator (once)"
    (cd tests/web && npm ci --silent --no-audit --no-fund)
    touch tests/web/node_modules/.package-lock.json
fi
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    echo "setup_web: chromium (once)"
    if [ "$(uname)" = Linux ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends chromium >/dev/null
    else
        echo "setup_web: install Chromium or Google Chrome (on Debian: sudo apt-get install chromium)" >&2
        exit 2
    fi
fi
echo "setup_web: done"
