// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd.Tests;

/// <summary>Against nbdkit and the reference nbd-server: odd sizes, block size constraints, errors, missing features.</summary>
public sealed class OtherServerTests : IDisposable
{
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;
    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData((1 << 20) + 12345)]
    public async Task DiskOfOddSize_IsReadExactly(int size)
    {
        var content = await WriteImageAsync(size);
        await using var server = await NbdkitAsync("-r", "file", _folder["d"]);
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options, Token);
        Assert.Equal(size, source.Size);
        var all = new byte[size];
        await source.ReadAsync(0, all, Token);
        Assert.Equal(content, all);
        var extents = await source.ExtentsAsync(new ByteRange(0, size), Token).ToListAsync(Token);
        Assert.Equal(size, extents.Sum(extent => extent.Range.Length));
        if (size > 10_000)
        {
            await source.ReadAsync(size - 777, all.AsMemory(0, 777), Token);
            Assert.True(content.AsSpan(size - 777).SequenceEqual(all.AsSpan(0, 777)));
        }
    }

    [Theory]
    [InlineData(512, 65536)]
    [InlineData(4096, 8192)]
    [InlineData(65536, 65536)]
    public async Task BlockSizeConstraints_AreKeptByReadsAndWrites(int minimum, int maximum)
    {
        // The policy makes nbdkit refuse every request that breaks the constraints.
        const int Size = 4 << 20;
        var expected = await WriteImageAsync(Size);
        await using (var server = await NbdkitAsync(
            "--filter=blocksize-policy", "file", _folder["d"],
            $"blocksize-minimum={minimum}", $"blocksize-preferred={maximum}", $"blocksize-maximum={maximum}",
            "blocksize-error-policy=error"))
        {
            await using var target = await NbdBlockTarget.OpenAsync(Uri, _options, Token);
            Assert.Equal(new NbdBlockSizes((uint)minimum, (uint)maximum, (uint)maximum), target.Export.BlockSizes);
            var random = new Random(41);

            // Ranges that touch within a block are written at the same time.
            var cuts = Enumerable.Range(0, 60).Select(_ => random.Next(Size)).Append(0).Append(Size).Order().ToArray();
            await Task.WhenAll(cuts.Zip(cuts.Skip(1)).Select((cut, i) =>
            {
                var range = ByteRange.FromBounds(cut.First, cut.Second);
                if (i % 5 == 0)
                {
                    expected.AsSpan(cut.First, (int)range.Length).Clear();
                    return target.ZeroAsync(range, Token).AsTask();
                }

                random.NextBytes(expected.AsSpan(cut.First, (int)range.Length));
                return target.WriteAsync(range.Offset, expected.AsMemory(cut.First, (int)range.Length), Token).AsTask();
            }));
            await target.FlushAsync(Token);
            for (var round = 0; round < 50; round++)
            {
                var offset = random.Next(Size);
                var part = new byte[random.Next(Math.Min(Size - offset, 200_000) + 1)];
                await target.ReadAsync(offset, part, Token);
                Assert.True(expected.AsSpan(offset, part.Length).SequenceEqual(part), "seed 41");
            }
        }

        var image = await File.ReadAllBytesAsync(_folder["d"], Token);
        Assert.True(expected.AsSpan().SequenceEqual(image), "seed 41");
    }

    [Fact]
    public async Task ConnectionItself_RefusesWhatBreaksTheConstraints()
    {
        await WriteImageAsync(1 << 20);
        await using var server = await NbdkitAsync(
            "--filter=blocksize-policy", "file", _folder["d"],
            "blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=65536");
        await using var connection = await NbdClient.ConnectAsync(Uri, _options, Token);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => connection.ReadAsync(1, new byte[512], Token).AsTask());
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => connection.ReadAsync(0, new byte[513], Token).AsTask());
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => connection.ReadAsync(0, new byte[65536 + 512], Token).AsTask());
        await connection.ReadAsync(512, new byte[65536], Token);
    }

    [Fact]
    public async Task ErrorsOfTheServer_CarryItsNumberAndLeaveTheConnectionUsable()
    {
        await WriteImageAsync(1 << 20);
        await using var server = await NbdkitAsync("--filter=error", "file", _folder["d"], "error-pread=ENOSPC", "error-pread-rate=100%");
        await using var connection = await NbdClient.ConnectAsync(Uri, _options, Token);
        for (var i = 0; i < 3; i++)
        {
            var failure = await Assert.ThrowsAsync<NbdRequestException>(() => connection.ReadAsync(4096, new byte[4096], Token).AsTask());
            Assert.Equal(NbdError.NoSpace, failure.Error);
            Assert.Equal("Server refused 'Read' of 4096 bytes at offset 4096: no space left (ENOSPC).", failure.Message);
        }

        await connection.FlushAsync(Token);
    }

    [Fact]
    public async Task OneFailedPieceOfALongRead_FailsTheReadAndNothingElse()
    {
        var content = await WriteImageAsync(4 << 20);
        await using var server = await NbdkitAsync("--filter=error", "file", _folder["d"], "error-pread=EIO", "error-pread-rate=30%");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options with { RequestLength = 65536 }, Token);
        await Assert.ThrowsAsync<NbdRequestException>(() => source.ReadAsync(0, new byte[4 << 20], Token).AsTask());
        var part = new byte[1000];
        for (var attempt = 0; attempt < 200; attempt++)
        {
            try
            {
                await source.ReadAsync(12345, part, Token);
                Assert.True(content.AsSpan(12345, 1000).SequenceEqual(part));
                return;
            }
            catch (NbdRequestException)
            {
                // Three of ten fail by design.
            }
        }

        Assert.Fail("None of 200 reads came through.");
    }

    [Fact]
    public async Task ServerWithoutWriteZeroes_IsZeroedByPlainWrites()
    {
        var expected = await WriteImageAsync(1 << 20);
        await using var server = await NbdkitAsync(
            "--filter=nozero", "file", _folder["d"], "zeromode=none");
        await using var target = await NbdBlockTarget.OpenAsync(Uri, _options, Token);
        Assert.False(target.Export.Has(NbdTransmissionFlags.WriteZeroes));
        await target.ZeroAsync(new ByteRange(1000, 600_000), Token);
        expected.AsSpan(1000, 600_000).Clear();
        var back = new byte[1 << 20];
        await target.ReadAsync(0, back, Token);
        Assert.Equal(expected, back);
    }

    [Fact]
    public async Task SlowAnswers_AreWaitedForTogether()
    {
        // One after the other, 64 answers of 100 ms each would take 6.4 s.
        await WriteImageAsync(4 << 20);
        await using var server = await NbdkitAsync("-r", "--filter=delay", "file", _folder["d"], "rdelay=100ms");
        await using var source = await NbdBlockSource.OpenAsync(Uri, _options with { RequestLength = 65536 }, Token);
        Assert.Equal(4, source.ConnectionCount);
        var clock = System.Diagnostics.Stopwatch.StartNew();
        await source.ReadAsync(0, new byte[4 << 20], Token);
        Assert.InRange(clock.ElapsedMilliseconds, 100, 3000);
    }

    [Fact]
    public async Task ListOfManyExports_IsWhole()
    {
        Directory.CreateDirectory(_folder["many"]);
        for (var i = 0; i < 50; i++)
            await File.WriteAllBytesAsync(Path.Combine(_folder["many"], $"disk-{i}"), new byte[512 * (i + 1)], Token);
        await using var server = await NbdkitAsync("file", $"dir={_folder["many"]}");
        var entries = await NbdClient.ListAsync(Uri, _options, Token);
        var names = Enumerable.Range(0, 50).Select(i => $"disk-{i}").Order(StringComparer.Ordinal);
        Assert.Equal(names, entries.Select(entry => entry.Name).Order(StringComparer.Ordinal));
        Assert.Equal(512 * 8, (await NbdClient.InfoAsync(Uri.WithExportName("disk-7"), _options, Token)).Size);
    }

    [Fact]
    public async Task ReferenceServer_IsReadAndWrittenOverTcp()
    {
        const int Size = 3 * 1024 * 1024;
        var expected = await WriteImageAsync(Size);
        var port = Tool.FreePort();
        await File.WriteAllTextAsync(
            _folder["c"],
            $"[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nallowlist = true\n"
            + $"[disk]\nexportname = {_folder["d"]}\nflush = true\nfua = true\n",
            Token);
        await using (var server = await Tool.ServeAsync($"{port}", "nbd-server", "-d", "-C", _folder["c"]))
        {
            var uri = NbdUri.Parse($"nbd://127.0.0.1:{port}/disk");
            // Kept in the foreground, it serves one connection at a time.
            await using (var target = await NbdBlockTarget.OpenAsync(uri, _options with { Connections = 1 }, Token))
            {
                Assert.Equal(Size, target.Size);
                new Random(43).NextBytes(expected.AsSpan(70_000, 1_500_000));
                await target.WriteAsync(70_000, expected.AsMemory(70_000, 1_500_000), Token);
                expected.AsSpan(2_000_000, 500_000).Clear();
                await target.ZeroAsync(new ByteRange(2_000_000, 500_000), Token);
                await target.FlushAsync(Token);
                var back = new byte[Size];
                await target.ReadAsync(0, back, Token);
                Assert.Equal(expected, back);
            }
        }

        Assert.Equal(expected, await File.ReadAllBytesAsync(_folder["d"], Token));
    }

    private NbdUri Uri => NbdUri.ForUnixSocket(_folder["s"], "");

    private Task<Tool> NbdkitAsync(params string[] arguments) =>
        Tool.ServeAsync(_folder["s"], "nbdkit", ["-f", "-U", _folder["s"], .. arguments]);

    private async Task<byte[]> WriteImageAsync(int size)
    {
        var bytes = new byte[size];
        new Random(size).NextBytes(bytes);
        await File.WriteAllBytesAsync(_folder["d"], bytes, Token);
        return bytes;
    }
}
