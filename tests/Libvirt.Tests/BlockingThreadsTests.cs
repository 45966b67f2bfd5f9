// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt.Tests;

/// <summary>Calls that block, however many at once: none waits for another, and their threads go when nobody calls.</summary>
public sealed class BlockingThreadsTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task CallsAtOnce_NeverWaitForEachOther()
    {
        const int Count = 60;
        for (var round = 0; round < 5; round++)
        {
            using var all = new Barrier(Count);
            var calls = Enumerable.Range(0, Count).Select(_ => BlockingCall.RunAsync(() => all.SignalAndWait(Limit), Token)).ToList();
            Assert.All(await Task.WhenAll(calls), Assert.True);
        }
    }

    [Fact]
    public async Task CallsInARow_ShareThreads_AndThoseEnd()
    {
        const int Count = 200;
        var own = new BlockingThreads();
        var threads = new HashSet<Thread>();
        for (var i = 0; i < Count; i++)
        {
            threads.Add(await Task.Factory.StartNew(() => Thread.CurrentThread, Token, TaskCreationOptions.DenyChildAttach, own));
            await Task.Delay(1, Token);
        }

        Assert.InRange(threads.Count, 1, Count / 10);
        Assert.DoesNotContain(Thread.CurrentThread, threads); // what awaits a call does not go on where the next one is to run
        var started = TimeProvider.System.GetTimestamp();
        while (threads.Any(thread => thread.IsAlive) && TimeProvider.System.GetElapsedTime(started) < Limit)
            await Task.Delay(50, Token);
        Assert.All(threads, thread => Assert.False(thread.IsAlive));
    }

    [Fact]
    public async Task Failure_ReachesTheCaller_AndACallThatWasCancelledBeforeItBegan_IsNotMade()
    {
        await Assert.ThrowsAsync<TimeoutException>(() => BlockingCall.RunAsync<int>(() => throw new TimeoutException(), Token));
        var made = false;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => BlockingCall.RunAsync(() => made = true, new CancellationToken(canceled: true)));
        Assert.False(made);
    }
}
