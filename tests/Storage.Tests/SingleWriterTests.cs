// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>A repository for one writer, in a store without atomic create (docs/format.md section 10a).</summary>
public sealed class SingleWriterTests
{
    [Fact]
    public async Task SecondWriter_IsRefusedAndWritesNothing()
    {
        var (store, point, content) = await MakeAsync();
        using var second = await Fixture.OpenAsync(store, writer: 2);
        await second.RetireAsync(point.MachineId, point.Id, null, Fixture.Token); // one name, no bytes: whoever wins, it is the same
        string[] before = [.. store.Objects.Keys.Order(StringComparer.Ordinal)];
        var refusal = await Assert.ThrowsAsync<StoreUnsuitableException>(() => Fixture.BackUpAsync(second, content));
        Assert.Contains("single writer, '0000000000000001'", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("this host is writer '0000000000000002'", refusal.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<StoreUnsuitableException>(() => second.UndoAsync(point.MachineId, point.Id, Fixture.Token));
        await Assert.ThrowsAsync<StoreUnsuitableException>(() => second.LabelAsync(
            point.MachineId, point.Id, label => label with { Protect = true }, Fixture.Token));
        using var source = await Fixture.InitAsync(new MemoryStore(), writer: 2);
        var step = new CopyStep(await Fixture.BackUpAsync(source, content), null, null);
        await Assert.ThrowsAsync<StoreUnsuitableException>(() => source.CopyToAsync(second, step, null, Fixture.Token));
        Assert.Equal(before, store.Objects.Keys.Order(StringComparer.Ordinal));
        await Fixture.AssertHoldsAsync(second, point.Disk("vda"), content);
        Assert.True((await second.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);

        using var first = await Fixture.OpenAsync(store);
        var back = await first.UndoAsync(point.MachineId, point.Id, Fixture.Token);
        await Fixture.AssertHoldsAsync(first, back.Disk("vda"), content);
    }

    [Fact]
    public async Task NothingIsCollected_ByNobody()
    {
        var (store, point, _) = await MakeAsync();
        using var first = await Fixture.OpenAsync(store);
        await first.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        store.Now += TimeSpan.FromDays(60);
        string[] before = [.. store.Objects.Keys.Order(StringComparer.Ordinal)];
        using var second = await Fixture.OpenAsync(store, writer: 2);
        foreach (var repository in new[] { first, second })
        {
            foreach (var isDry in new[] { true, false })
            {
                var options = new CollectOptions { MaxDeletePercent = 100, DryRun = isDry };
                var refusal = await Assert.ThrowsAsync<StoreUnsuitableException>(
                    () => repository.CollectAsync(options, null, Fixture.Token));
                Assert.Contains("nothing is collected", refusal.Message, StringComparison.Ordinal);
            }
        }

        Assert.Equal(before, store.Objects.Keys.Order(StringComparer.Ordinal));
    }

    /// <summary>The session that made it keeps to it, and so does a program that only knows features by name.</summary>
    [Fact]
    public async Task Mode_HoldsFromInitOnAndForOtherPrograms()
    {
        var store = new MemoryStore();
        var init = new InitOptions { Credentials = Fixture.Key, SingleWriter = true };
        using var made = await Repository.InitAsync(store, init, Fixture.OptionsOf(1), Fixture.Token);
        await Assert.ThrowsAsync<StoreUnsuitableException>(() => made.CollectAsync(new CollectOptions(), null, Fixture.Token));
        var config = Encoding.UTF8.GetString(store.Objects["config"]);
        Assert.Contains("\"write\":[\"single-writer\"]", config, StringComparison.Ordinal);
        Assert.Contains("\"collect\":[\"single-writer\"]", config, StringComparison.Ordinal);
        Assert.True(await Repository.IsSingleWriterAsync(store, Fixture.Token));
    }

    private static async Task<(MemoryStore Store, RestorePoint Point, byte[] Content)> MakeAsync()
    {
        var store = new MemoryStore { Now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) };
        var init = new InitOptions { Credentials = Fixture.Key, SingleWriter = true };
        using var made = await Repository.InitAsync(store, init, Fixture.OptionsOf(1), Fixture.Token);
        var content = Fixture.Content(new Random(91), 2 << 20);
        return (store, await Fixture.BackUpAsync(made, content), content);
    }
}
