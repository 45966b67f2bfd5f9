// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>The processes of a host as one of them sees them; now and then it takes a living one for dead.</summary>
internal sealed class SimulatedProcesses(World world, Actor actor) : ProcessTable
{
    private const int WrongOnceIn = 40;

    public override ProcessMark? Own => actor.Mark;

    public override bool IsGone(ProcessMark process) =>
        world.Actors.Any(other => other.Mark == process && other.IsDead) || world.Random.Next(WrongOnceIn) == 0;
}
