// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Tests;

/// <summary>Guardians that are started before it is known what they will guard: none is started twice, none is left.</summary>
public sealed class GuardiansTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private readonly string _root = Directory.CreateTempSubdirectory("tidemark-guardians").FullName;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OneStartedAhead_IsTheFirstRuns_AndTheNextRunGetsAnother()
    {
        await using var guardians = Stand();
        guardians.StartAhead();
        guardians.StartAhead();
        var ahead = Assert.Single(await StartedAsync(1));

        await using (var run = guardians.ForRun())
        {
            await (await run.TakeAsync()).AbandonAsync();
            Assert.Equal([ahead], await StartedAsync(1));
            Assert.False(IsAlive(ahead));
        }

        await using var next = guardians.ForRun();
        Assert.Equal(2, (await StartedAsync(2)).Count);
    }

    [Fact]
    public async Task OneThatNoRunTook_EndsWithTheCall()
    {
        int ahead;
        await using (var guardians = Stand())
        {
            guardians.StartAhead();
            ahead = Assert.Single(await StartedAsync(1));
            Assert.True(IsAlive(ahead));
        }

        Assert.False(IsAlive(ahead));
    }

    [Fact]
    public async Task OneThatARunDidNotTake_EndsWithTheRun()
    {
        await using var guardians = Stand();
        guardians.StartAhead();
        var ahead = Assert.Single(await StartedAsync(1));

        await guardians.ForRun().DisposeAsync();

        Assert.False(IsAlive(ahead));
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    // A process that notes that it lives and waits, as a guardian does that was told nothing yet.
    private Guardians Stand() =>
        new(["/bin/bash", "-c", $"echo $$ >>{_root}/started; exec cat", "guardian"], null, new HostFolders(_root, _root));

    private async Task<IReadOnlyList<int>> StartedAsync(int count)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Token);
        limit.CancelAfter(Limit);
        while (true)
        {
            var lines = File.Exists($"{_root}/started") ? await File.ReadAllLinesAsync($"{_root}/started", limit.Token) : [];
            if (lines.Length >= count)
                return lines.Select(int.Parse).ToList();
            await Task.Delay(10, limit.Token);
        }
    }

    private static bool IsAlive(int process) => Directory.Exists($"/proc/{process}");
}
