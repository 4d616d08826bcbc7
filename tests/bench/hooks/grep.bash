#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The bash hook that hook-unrelated is compared with: the least that a hook in bash can do to
# find out that a domain is not its own.

if grep -q 'urn:virtfn:domain:'; then
    echo "$0: the benchmark's domain has no annotation" >&2
    exit 1
fi
