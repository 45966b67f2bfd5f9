// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

public sealed class SimulationTests
{
    [Fact]
    public void Seeds_LoseNothing()
    {
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

    private static World Play(int seed, List<string>? trace = null)
    {
        var world = Scene.Begin(seed, trace);
        world.Run();
        Judge.Judged(world);
        world.Release();
        return world;
    }
}
