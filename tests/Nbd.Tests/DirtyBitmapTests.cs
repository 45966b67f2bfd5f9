// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd.Tests;

/// <summary>Dirty bitmaps of a real image, exported by qemu-storage-daemon and qemu-nbd.</summary>
public sealed class DirtyBitmapTests : IDisposable
{
    private const long Mega = 1L << 20;
    private const long Giga = 1L << 30;
    private const string First = "qemu:dirty-bitmap:first";
    private const string Second = "qemu:dirty-bitmap:second";
    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task BothBitmaps_SayWhatWasWrittenSinceTheyBegan(int connections)
    {
        await using var server = await ServeAsync();
        string[] contexts = [NbdMetaContext.BaseAllocation, "qemu:dirty-bitmap:*"];
        var options = NbdClientOptions.Default with { Connections = connections, Contexts = contexts };
        await using var source = await NbdBlockSource.OpenAsync(Uri, options, Token);
        Assert.Equal("base:allocation qemu:dirty-bitmap:first qemu:dirty-bitmap:second", string.Join(' ', source.Export.Contexts));
        var whole = new ByteRange(0, source.Size);

        ByteRange[] sinceSecond = [new(Mega, 65536), new(9 * Giga, 2 * 65536)];
        ByteRange[] sinceFirst = [new(0, 65536), .. sinceSecond];
        Assert.Equal(sinceFirst, await source.DirtyRangesAsync(First, whole, Token).ToListAsync(Token));
        Assert.Equal(sinceSecond, await source.DirtyRangesAsync(Second, whole, Token).ToListAsync(Token));
        Assert.Equal(
            [new ByteRange(Mega + 512, 1024)],
            await source.DirtyRangesAsync(First, new ByteRange(Mega + 512, 1024), Token).ToListAsync(Token));

        Extent[] dirty =
        [
            new(new ByteRange(0, 65536), ExtentKind.Data),
            new(new ByteRange(Mega, 65536), ExtentKind.Data),
            new(new ByteRange(9 * Giga, 65536), ExtentKind.Zero),
            new(new ByteRange(9 * Giga + 65536, 65536), ExtentKind.Data),
        ];
        Assert.Equal(dirty, await source.DirtyExtentsAsync(First, whole, Token).ToListAsync(Token));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task SeveralContextsInOnePass_AgreeWithEachAlone(int connections)
    {
        await using var server = await ServeAsync();
        string[] names = [First, NbdMetaContext.BaseAllocation, Second];
        var options = NbdClientOptions.Default with { Connections = connections, Contexts = names };
        await using var source = await NbdBlockSource.OpenAsync(Uri, options, Token);
        var whole = new ByteRange(0, source.Size);
        var all = await source.StatusAsync(names, whole, Token).ToListAsync(Token);
        Assert.Equal(source.Size, all.Sum(status => status.Range.Length));
        Assert.All(all.Skip(1).Zip(all), pair => Assert.Equal(pair.Second.Range.End, pair.First.Range.Offset));
        for (var i = 0; i < names.Length; i++)
        {
            var set = new RangeSet();
            foreach (var status in all.Where(status => (status.Flags[i] & 1) != 0))
                set.Add(status.Range);
            Assert.Equal(await source.DirtyRangesAsync(names[i], whole, Token).ToListAsync(Token), [.. set]);
        }
    }

    [Fact]
    public async Task ContextThatWasNotNegotiated_IsRefused()
    {
        await using var server = await ServeAsync();
        await using var source = await NbdBlockSource.OpenAsync(
            Uri, NbdClientOptions.Default with { Contexts = ["qemu:dirty-bitmap:none"] }, Token);
        Assert.Empty(source.Export.Contexts);
        var failure = await Assert.ThrowsAsync<NbdRequestException>(
            async () => await source.DirtyRangesAsync("qemu:dirty-bitmap:none", new ByteRange(0, 1), Token).ToListAsync(Token));
        Assert.Equal("Export 'disk' does not offer meta context 'qemu:dirty-bitmap:none'.", failure.Message);
        Assert.Equal(
            [new Extent(new ByteRange(5, 9), ExtentKind.Data)], await source.ExtentsAsync(new ByteRange(5, 9), Token).ToListAsync(Token));
    }

    [Fact]
    public async Task ConsumerThatStopsEarly_LeavesTheSourceUsable()
    {
        await using var server = await ServeAsync();
        await using var source = await NbdBlockSource.OpenAsync(
            Uri, NbdClientOptions.Default with { Contexts = [First, NbdMetaContext.BaseAllocation] }, Token);
        var whole = new ByteRange(0, source.Size);
        for (var round = 0; round < 20; round++)
        {
            Assert.Equal(0, (await source.DirtyExtentsAsync(First, whole, Token).FirstAsync(Token)).Range.Offset);
            Assert.Equal(0, (await source.ExtentsAsync(whole, Token).FirstAsync(Token)).Range.Offset);
        }

        var buffer = new byte[65536];
        await source.ReadAsync(Mega, buffer, Token);
        Assert.All(buffer, value => Assert.Equal(2, value));
    }

    private NbdUri Uri => NbdUri.ForUnixSocket(_folder["s"], "disk");

    private async Task<Tool> ServeAsync()
    {
        var image = _folder["d"];
        await Tool.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", image, "10G");
        await Tool.RunAsync("qemu-img", "bitmap", "--add", image, "first");
        await Tool.RunAsync("qemu-io", "-c", "write -P 1 0 64k", image);
        await Tool.RunAsync("qemu-img", "bitmap", "--add", image, "second");
        await Tool.RunAsync(
            "qemu-io", "-c", "write -P 2 1M 64k", "-c", "write -z 9G 64k", "-c", $"write -P 3 {9 * Giga + 65536} 64k", image);
        await Tool.RunAsync("qemu-img", "bitmap", "--disable", image, "first");
        await Tool.RunAsync("qemu-img", "bitmap", "--disable", image, "second");
        return await Tool.ServeAsync(
            _folder["s"], "qemu-storage-daemon",
            "--blockdev", $"file,node-name=file,filename={image},read-only=on",
            "--blockdev", "qcow2,node-name=disk,file=file,read-only=on",
            "--nbd-server", $"addr.type=unix,addr.path={_folder["s"]}",
            "--export", "nbd,id=e,node-name=disk,name=disk,bitmaps.0=first,bitmaps.1=second");
    }
}
