// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd.Tests;

/// <summary>Against qemu-nbd, contents compared with the image file.</summary>
public sealed class QemuNbdTests : IDisposable
{
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;
    private readonly TempFolder _folder = new();
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(512, 1)]
    [InlineData(1 << 20, 4)]
    [InlineData((3 << 20) + 512 * 5, 4)]
    [InlineData((3 << 20) + 512 * 5, 1)]
    public async Task Disk_IsReadExactlyFromAnyOffset(int size, int connections)
    {
        var content = RandomBytes(size, seed: size);
        await using var server = await ServeRawAsync(content, "-r", "-e", "8");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options with { Connections = connections }, Token);
        Assert.True(source.Export.IsReadOnly);
        Assert.Equal((long)size, source.Size);
        Assert.Equal(connections, source.ConnectionCount);

        var all = new byte[size];
        await source.ReadAsync(0, all, Token);
        Assert.Equal(content, all);

        var random = new Random(17);
        var reads = Enumerable.Range(0, 200).Select(async _ =>
        {
            var offset = random.Next(size);
            var part = new byte[random.Next(Math.Min(size - offset, 300_000) + 1)];
            await source.ReadAsync(offset, part, Token);
            Assert.True(content.AsSpan(offset, part.Length).SequenceEqual(part), $"seed 17, [{offset}, {offset + part.Length})");
        });
        await Task.WhenAll(reads);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => source.ReadAsync(size - 1, new byte[2], Token).AsTask());
    }

    [Fact]
    public async Task SimpleReplies_ReadTheSame()
    {
        var content = RandomBytes(2 << 20, seed: 3);
        await using var server = await ServeRawAsync(content, "-r");
        await using var connection = await NbdClient.ConnectAsync(Uri, _options with { StructuredReplies = false }, Token);
        Assert.False(connection.Export.HasStructuredReplies);
        var all = new byte[content.Length];
        await connection.ReadAsync(0, all, Token);
        Assert.Equal(content, all);
    }

    [Fact]
    public async Task Writes_ZeroesTrimsAndFlushes_ArriveExactly()
    {
        const int Size = (4 << 20) + 513 * 3;
        var expected = RandomBytes(Size, seed: 5);
        await using (var server = await ServeRawAsync(expected, "-e", "8", "--discard=unmap"))
        {
            await using var target = await NbdBlockTarget.OpenAsync(Uri, _options, Token);
            Assert.True(target.CanFlush);
            var random = new Random(23);
            for (var round = 0; round < 60; round++)
            {
                var offset = random.Next(Size);
                var length = random.Next(Math.Min(Size - offset, 1 << 20) + 1);
                if (round % 3 == 0)
                {
                    await target.ZeroAsync(new ByteRange(offset, length), Token);
                    expected.AsSpan(offset, length).Clear();
                    continue;
                }

                random.NextBytes(expected.AsSpan(offset, length));
                await target.WriteAsync(offset, expected.AsMemory(offset, length), Token);
            }

            await target.FlushAsync(Token);
            var back = new byte[Size];
            await target.ReadAsync(0, back, Token);
            Assert.True(expected.AsSpan().SequenceEqual(back), "seed 23");
            await target.TrimAsync(new ByteRange(65536, 65536), Token);
            await target.WriteAsync(65536, expected.AsMemory(65536, 65536), Token);
        }

        var image = await File.ReadAllBytesAsync(_folder["d"], Token);
        Assert.True(expected.AsSpan().SequenceEqual(image), "seed 23");
    }

    [Fact]
    public async Task EveryCommandOfAConnection_IsAccepted()
    {
        await using var server = await ServeRawAsync(new byte[1 << 20], "--discard=unmap");
        await using var connection = await NbdClient.ConnectAsync(Uri, _options, Token);
        var written = RandomBytes(8192, seed: 9);
        await connection.WriteAsync(4096, written, isDurable: true, Token);
        await connection.WriteZeroesAsync(new ByteRange(4096, 512), NbdCommandFlags.NoHole | NbdCommandFlags.ForceUnitAccess, Token);
        await connection.TrimAsync(new ByteRange(65536, 65536), Token);
        await connection.CacheAsync(new ByteRange(0, 65536), Token);
        await connection.FlushAsync(Token);
        await connection.ReadAsync(0, Memory<byte>.Empty, Token);
        var back = new byte[8192];
        await connection.ReadAsync(4096, back, Token);
        written.AsSpan(0, 512).Clear();
        Assert.Equal(written, back);
        var one = await connection.BlockStatusAsync(new ByteRange(0, 1 << 20), isOneExtent: true, Token);
        Assert.Single(Assert.Single(one).Extents);
    }

    [Fact]
    public async Task ReadOnlyExport_RefusesWritesBeforeSendingThem()
    {
        await using var server = await ServeRawAsync(new byte[4096], "-r", "-e", "8");
        await using var connection = await NbdClient.ConnectAsync(Uri, _options, Token);
        var refusal = await Assert.ThrowsAsync<NbdRequestException>(() => connection.WriteAsync(0, new byte[512], false, Token).AsTask());
        Assert.Equal(NbdError.NotPermitted, refusal.Error);
        await Assert.ThrowsAsync<NbdRequestException>(() => NbdBlockTarget.OpenAsync(Uri, _options, Token));
        await connection.ReadAsync(0, new byte[512], Token);
    }

    [Fact]
    public async Task ListAndInfo_SayWhatTheServerHas()
    {
        await using var server = await ServeRawAsync(new byte[10_240], "-r", "-x", "name/ü", "-D", "a description");
        Assert.Equal([new NbdListEntry("name/ü", "a description")], await NbdClient.ListAsync(Uri, _options, Token));

        var info = await NbdClient.InfoAsync(Uri.WithExportName("name/ü"), _options, Token);
        Assert.Equal(("name/ü", "a description", 10_240L), (info.CanonicalName, info.Description, info.Size));
        Assert.Equal([NbdMetaContext.BaseAllocation], info.Contexts);
        Assert.Equal(32u << 20, info.BlockSizes.Maximum);

        var unknown = await Assert.ThrowsAsync<NbdNegotiationException>(
            () => NbdClient.ConnectAsync(Uri.WithExportName("x"), _options, Token));
        Assert.Equal(NbdOptionReply.ErrorUnknown, unknown.Reply);
        Assert.StartsWith("Server refused export 'x': there is no such export", unknown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SparseDisk_HasExactlyTheExtentsOfItsContent()
    {
        await Tool.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", _folder["d"], "6T");
        await Tool.RunAsync("qemu-io", "-c", "write -P 1 1M 64k", "-c", "write -P 2 5T 128k", "-c", "write -z 3T 64k", _folder["d"]);
        await using var server = await ServeAsync("qcow2", "-r", "-e", "8");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options, Token);
        const long Mega = 1L << 20, Tera = 1L << 40;
        Extent[] expected =
        [
            new(ByteRange.FromBounds(0, Mega), ExtentKind.Zero),
            new(new ByteRange(Mega, 65536), ExtentKind.Data),
            new(ByteRange.FromBounds(Mega + 65536, 5 * Tera), ExtentKind.Zero),
            new(new ByteRange(5 * Tera, 131072), ExtentKind.Data),
            new(ByteRange.FromBounds(5 * Tera + 131072, 6 * Tera), ExtentKind.Zero),
        ];
        Assert.Equal(expected, await source.ExtentsAsync(new ByteRange(0, 6 * Tera), Token).ToListAsync(Token));
        Assert.Equal(
            [new(new ByteRange(Mega + 1000, 65536 - 1000), ExtentKind.Data), new(new ByteRange(Mega + 65536, 7), ExtentKind.Zero)],
            await source.ExtentsAsync(ByteRange.FromBounds(Mega + 1000, Mega + 65536 + 7), Token).ToListAsync(Token));
    }

    [Fact]
    public async Task ServerKilledMidRead_FailsEveryCallWithOneReason()
    {
        await using var server = await ServeRawAsync(new byte[64 << 20], "-r", "-e", "8");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options with { Connections = 1 }, Token);
        var reads = Enumerable.Range(0, 32).Select(_ => ReadOnAsync(source)).ToList();
        await Task.Delay(100, Token);
        server.Kill();
        foreach (var read in reads)
        {
            var failure = await Assert.ThrowsAnyAsync<NbdException>(() => read.WaitAsync(TimeSpan.FromSeconds(5), Token));
            Assert.True(failure is NbdConnectionClosedException or NbdProtocolException, failure.ToString());
        }

        await Assert.ThrowsAnyAsync<NbdException>(() => source.ReadAsync(0, new byte[1], Token).AsTask());
    }

    [Fact]
    public async Task ServerThatIsFull_IsUsedWithFewerConnections()
    {
        await using var server = await ServeRawAsync(new byte[4096], "-r", "-e", "2");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options, Token);
        Assert.True(source.Export.CanMultiConnection);
        Assert.Equal(2, source.ConnectionCount);
        await source.ReadAsync(0, new byte[4096], Token);
    }

    [Fact]
    public async Task LongReadThatIsCancelled_LeavesTheSourceUsable()
    {
        var content = RandomBytes(32 << 20, seed: 11);
        await using var server = await ServeRawAsync(content, "-r", "-e", "8");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options, Token);
        var buffer = new byte[content.Length];
        for (var round = 0; round < 20; round++)
        {
            using var cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds(round));
            var failure = await Record.ExceptionAsync(() => source.ReadAsync(0, buffer, cancel.Token).AsTask());
            Assert.True(failure is null or OperationCanceledException, $"round {round}: {failure}");
            buffer.AsSpan().Clear();
            Assert.True(buffer.AsSpan().IndexOfAnyExcept((byte)0) < 0, $"round {round}");
        }

        await source.ReadAsync(0, buffer, Token);
        Assert.True(content.AsSpan().SequenceEqual(buffer));
    }

    [Fact]
    public async Task NoServer_IsOneClearError()
    {
        var missing = await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(Uri, _options, Token));
        Assert.StartsWith($"'{Uri}' cannot be reached: ", missing.Message, StringComparison.Ordinal);
        var tooLong = NbdUri.ForUnixSocket("/" + new string('x', 200), "");
        await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(tooLong, _options, Token));
    }

    private NbdUri Uri => NbdUri.ForUnixSocket(_folder["s"], "");

    private static async Task ReadOnAsync(NbdBlockSource source)
    {
        for (var buffer = new byte[256 * 1024]; ;)
            await source.ReadAsync(0, buffer, CancellationToken.None);
    }

    private static byte[] RandomBytes(int size, int seed)
    {
        var bytes = new byte[size];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private async Task<Tool> ServeRawAsync(byte[] content, params string[] arguments)
    {
        await File.WriteAllBytesAsync(_folder["d"], content, Token);
        return await ServeAsync("raw", arguments);
    }

    private Task<Tool> ServeAsync(string format, params string[] arguments) =>
        Tool.ServeAsync(_folder["s"], "qemu-nbd", [.. arguments, "-t", "-f", format, "-k", _folder["s"], _folder["d"]]);
}
