// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

public sealed partial class LabMachine
{
    /// <summary>Fills a range with one byte value.</summary>
    public Task WriteAsync(string target, long offset, long length, byte pattern, CancellationToken cancellationToken = default) =>
        QemuIoAsync(target, $"write -P {pattern} {offset} {length}", Wrote(offset, length), cancellationToken);

    /// <summary>Writes these bytes.</summary>
    public async Task WriteBytesAsync(string target, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken = default)
    {
        var path = Path.Combine(Host.Folder, $"write-{Path.GetRandomFileName()}");
        await File.WriteAllBytesAsync(path, bytes, cancellationToken);
        try
        {
            Host.GiveToQemu(path);
            var length = bytes.Length;
            await QemuIoAsync(target, $"write -s {path} {offset} {length}", Wrote(offset, length), cancellationToken);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>Discards a range, as TRIM from a guest would.</summary>
    public Task DiscardAsync(string target, long offset, long length, CancellationToken cancellationToken = default) =>
        QemuIoAsync(target, $"discard {offset} {length}", $"discard {length}/{length} bytes at offset {offset}\n", cancellationToken);

    /// <summary>Writes zeroes without data; with <paramref name="unmap"/> the range may lose its space.</summary>
    public Task WriteZeroesAsync(string target, long offset, long length, bool unmap, CancellationToken cancellationToken = default) =>
        QemuIoAsync(target, $"write -z {(unmap ? "-u " : "")}{offset} {length}", Wrote(offset, length), cancellationToken);

    public Task FlushAsync(string target, CancellationToken cancellationToken = default) =>
        QemuIoAsync(target, "flush", "", cancellationToken);

    /// <summary>
    /// The disk's content now, as a raw sparse file: the truth a restore is compared with. Nothing else may write meanwhile.
    /// </summary>
    public async Task CopyDiskAsync(string target, string path, CancellationToken cancellationToken = default)
    {
        if ((await Domain.GetStatusAsync(cancellationToken)).IsActive)
            await FlushAsync(target, cancellationToken);
        var disk = _disks[target].Disk;
        var (image, format) = (disk.Uri ?? (await ImagesAsync(target, cancellationToken))[0], disk.Format);
        await Tool.RunAsync("qemu-img", ["convert", "-q", "-U", "-f", format, "-O", "raw", image, path], cancellationToken);
    }

    /// <summary>The disk's content now; for small disks.</summary>
    public async Task<byte[]> ReadDiskAsync(string target, CancellationToken cancellationToken = default)
    {
        var path = Path.Combine(Host.Folder, $"read-{Path.GetRandomFileName()}");
        try
        {
            await CopyDiskAsync(target, path, cancellationToken);
            return await File.ReadAllBytesAsync(path, cancellationToken);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>
    /// Runs a qemu-io command on the disk's device. The monitor answers nothing whether it works or fails; the outcome stands in the
    /// machine's log, where <paramref name="expected"/> must be all there is of news (an empty text: no news).
    /// </summary>
    private async Task QemuIoAsync(string target, string command, string expected, CancellationToken cancellationToken)
    {
        var description = await DescribeAsync(cancellationToken);
        var disk = description.Disks.Single(candidate => candidate.Target == target);
        var device = $"/machine/peripheral/{disk.Alias}{(disk.Bus == "virtio" ? "/virtio-backend" : "")}";
        await Host.QemuIo.WaitAsync(cancellationToken);
        try
        {
            using var log = new FileStream(Host.MachineLog(Name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            log.Seek(0, SeekOrigin.End);
            var reply = await Domain.QemuMonitorCommandAsync($"qemu-io -d {device} \"{command}\"", human: true, cancellationToken);
            using var reader = new StreamReader(log);
            var news = await reader.ReadToEndAsync(cancellationToken);
            if (reply.Trim().Length > 0 || !Confirms(news, expected))
                throw new InvalidOperationException($"qemu-io '{command}' on '{target}' of '{Name}' failed: {reply.Trim()} {news.Trim()}");
        }
        finally
        {
            Host.QemuIo.Release();
        }
    }

    private static string Wrote(long offset, long length) => $"wrote {length}/{length} bytes at offset {offset}\n";

    private static bool Confirms(string news, string expected) =>
        expected.Length > 0 ? news.Contains(expected, StringComparison.Ordinal) : !news.Contains("failed", StringComparison.Ordinal);
}
