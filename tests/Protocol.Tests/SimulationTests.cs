// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

public sealed class SimulationTests
{
    [Fact]
    public void Seeds_LoseNothing()
    {
        if (Seeds.Only is { } only)
            Show(only);
        var result = Seeds.Run(Seeds.FirstOr(1), Seeds.CountOr(2000), seed => Play(seed));
        TestContext.Current.TestOutputHelper?.WriteLine($"{result}");
        Assert.True(result.Failure is null, result.Failure);
    }

    [Fact]
    public void Seed_PlayedTwice_DoesTheSame()
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            List<string> first = [], second = [];
            Play(seed, first);
            Play(seed, second);
            Assert.Equal(first, second);
        }
    }

    /// <summary>Plays one seed and prints every request.</summary>
    internal static void Show(int seed, WriterRules? writerRules = null, CollectorRules? collectorRules = null)
    {
        List<string> trace = [];
        try
        {
            var world = Play(seed, trace, writerRules, collectorRules);
            trace.AddRange(world.Violations);
        }
        finally
        {
            foreach (var line in trace)
                TestContext.Current.TestOutputHelper?.WriteLine(line);
        }
    }

    internal static World Play(
        int seed, List<string>? trace = null, WriterRules? writerRules = null, CollectorRules? collectorRules = null)
    {
        var world = Scene.Begin(seed, trace, writerRules, collectorRules);
        world.Run();
        Judge.Judged(world);
        world.Release();
        return world;
    }
}
