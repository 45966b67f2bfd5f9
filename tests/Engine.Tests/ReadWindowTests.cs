// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;

namespace Tidemark.Engine.Tests;

/// <summary>How far a disk is read ahead: no further than needed, as far as allowed.</summary>
public sealed class ReadWindowTests
{
    private static readonly CancellationToken _token = TestContext.Current.CancellationToken;

    [Fact]
    public async Task StaysSmall_WhileChunksComeInTime()
    {
        using var window = new ReadWindow(3, 8);
        var inside = await FillAsync(window);
        Assert.Equal(3, inside);
        for (var i = 0; i < 1000; i++)
        {
            window.Leave(isLate: false);
            await window.EnterAsync(_token);
        }

        Assert.Equal(3, window.Size);
        Assert.Equal(0, await FillAsync(window));
    }

    [Fact]
    public async Task Grows_WithEachWait_UpToItsBound()
    {
        using var window = new ReadWindow(3, 8);
        var inside = await FillAsync(window);
        for (var i = 0; i < 20; i++)
        {
            window.Leave(isLate: true);
            inside += await FillAsync(window) - 1;
        }

        Assert.Equal(8, inside);
        Assert.Equal(8, window.Size);
    }

    [Fact]
    public async Task ShrinksAgain_WhenNobodyWaitsForLong_NeverBelowItsStart()
    {
        using var window = new ReadWindow(3, 8);
        var inside = await FillAsync(window);
        for (var i = 0; i < 2000; i++)
        {
            window.Leave(isLate: i < 20);
            inside += await FillAsync(window) - 1;
            Assert.InRange(inside, 3, 8);
        }

        Assert.Equal(3, inside);
        Assert.Equal(3, window.Size);
    }

    [Fact]
    public async Task NowAndThenAWait_KeepsIt()
    {
        using var window = new ReadWindow(2, 6);
        await FillAsync(window);
        for (var i = 0; i < 1000; i++)
        {
            window.Leave(isLate: i % 20 == 0);
            await FillAsync(window);
        }

        Assert.Equal(6, window.Size);
    }

    [Fact]
    public async Task WhoWaitsForRoom_CanBeCancelled()
    {
        using var window = new ReadWindow(1, 1);
        await FillAsync(window);
        using var cancel = new CancellationTokenSource();
        var waiting = window.EnterAsync(cancel.Token);
        Assert.False(waiting.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        window.Leave(isLate: false);
        await window.EnterAsync(_token);
    }

    // Enters as often as there is room at once.
    private static async Task<int> FillAsync(ReadWindow window)
    {
        for (var entered = 0; ; entered++)
        {
            using var stop = new CancellationTokenSource();
            var entering = window.EnterAsync(stop.Token);
            if (entering.IsCompletedSuccessfully)
                continue;
            await stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => entering);
            return entered;
        }
    }
}
