// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Native;
using Tidemark.Lab;
using Tidemark.Qemu;

namespace Tidemark.Engine.Tests;

/// <summary>What shows that nobody wrote to a file, however soon after the first look.</summary>
public sealed class FileStampTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => File.Delete(_file);

    [Fact]
    public async Task WriteRightAfterTheStamp_IsAlwaysSeen()
    {
        for (var round = 0; round < 20; round++)
        {
            await File.WriteAllTextAsync(_file, "one", Token); // within the same tick of the clock as the first look
            var stamp = Assert.Single(await FileStamp.SettledAsync([_file], Token));
            Assert.Equal(stamp, FileStamp.Read(_file));
            await using (var file = File.OpenWrite(_file))
                file.WriteByte((byte)'t');
            Assert.NotEqual(stamp, FileStamp.Read(_file));
        }
    }

    [Fact]
    public async Task RenamedAway_AndBack_IsSeen()
    {
        var stamp = Assert.Single(await FileStamp.SettledAsync([_file], Token));
        File.Move(_file, _file + ".x");
        Assert.Throws<IOException>(() => FileStamp.Read(_file));
        File.Move(_file + ".x", _file);
        Assert.NotEqual(stamp, FileStamp.Read(_file));
    }

    [Fact]
    public async Task TimesSetBack_AreSeen()
    {
        var stamp = Assert.Single(await FileStamp.SettledAsync([_file], Token));
        await File.WriteAllTextAsync(_file, "two", Token);
        File.SetLastWriteTimeUtc(_file, stamp.Modified.UtcDateTime);
        Assert.NotEqual(stamp, FileStamp.Read(_file));
    }

    [Fact]
    public async Task FileThatIsWrittenAllTheTime_NeverSettles()
    {
        using var stop = new CancellationTokenSource();
        var writing = Task.Run(
            async () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    await File.AppendAllTextAsync(_file, "x", CancellationToken.None);
                    await Task.Delay(1, CancellationToken.None);
                }
            },
            Token);
        await Task.Delay(50, Token);
        var failure = await Assert.ThrowsAsync<IOException>(() => FileStamp.SettledAsync([_file], Token));
        Assert.Contains("being written", failure.Message, StringComparison.Ordinal);
        await stop.CancelAsync();
        await writing;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ImageOpenInAProgram_IsSeenWhenThatMayWrite(bool readOnly)
    {
        await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", _file, "1M"], Token);
        Assert.False(FileStamp.IsOpenForWriting(_file));
        var options = new QemuNbdOptions { Image = ImageRef.File(_file, "qcow2"), SocketPath = _file + ".sock", ReadOnly = readOnly };
        await using (await QemuNbd.ServeAsync(options, Token))
            Assert.Equal(!readOnly, FileStamp.IsOpenForWriting(_file));
        Assert.False(FileStamp.IsOpenForWriting(_file));
    }

    [Fact]
    public void FolderOrPipe_IsNoImage()
    {
        Assert.Contains("neither", Assert.Throws<IOException>(() => FileStamp.Read("/tmp")).Message, StringComparison.Ordinal);
        Assert.Contains("neither", Assert.Throws<IOException>(() => FileStamp.Read("/dev/null")).Message, StringComparison.Ordinal);
    }
}
