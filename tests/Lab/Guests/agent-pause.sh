#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# agent-pause SECONDS: stops the guest agent in a second and lets it go on later. A host starts it through the agent (guest-exec).
(
    usleep 1000000
    kill -STOP $(cat /run/agent.pid)
    sleep "$1"
    kill -CONT $(cat /run/agent.pid)
) </dev/null >/dev/null 2>&1 &
