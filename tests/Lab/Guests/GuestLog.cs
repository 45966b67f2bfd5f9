// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Tidemark.Lab.Guests;

/// <summary>A file that the guest had made durable; <see cref="Disk"/> is the guest's name of the disk, such as <c>vda</c>.</summary>
public sealed record GuestFile(int Number, string Sha256, string Disk);

/// <summary>
/// The serial console of a guest. In writer mode it holds <c>ACK number sha256 folder</c> for each file after it became durable, and
/// <c>GONE number</c> before a file is changed or deleted. <see cref="Position"/> taken before and after a frozen point says which files
/// the point must hold: those acknowledged before the first and not gone before the second.
/// </summary>
public sealed partial class GuestLog(string path)
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    /// <summary>Bytes written until now; 0 while the machine has not started.</summary>
    public long Position => File.Exists(path) ? new FileInfo(path).Length : 0;

    /// <summary>What was written until now, or up to a position.</summary>
    public async Task<string> ReadAsync(CancellationToken cancellationToken, long? upTo = null)
    {
        if (!File.Exists(path))
            return "";
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var content = new byte[Math.Min(file.Length, upTo ?? long.MaxValue)];
        await file.ReadExactlyAsync(content, cancellationToken);
        return Encoding.UTF8.GetString(content).Replace("\r", "", StringComparison.Ordinal);
    }

    /// <summary>Waits for a line that begins with <paramref name="start"/> and lies behind a position; returns the whole line.</summary>
    /// <exception cref="TimeoutException">It did not come; the message ends with the last lines of the console.</exception>
    public async Task<string> WaitForAsync(string start, TimeSpan limit, CancellationToken cancellationToken, long after = 0)
    {
        for (var begun = TimeProvider.System.GetTimestamp(); ; await Task.Delay(Poll, cancellationToken))
        {
            var text = await ReadAsync(cancellationToken);
            var lines = text[(int)Math.Min(after, text.Length)..].Split('\n');
            if (lines[..^1].FirstOrDefault(line => line.StartsWith(start, StringComparison.Ordinal)) is { } found)
                return found;
            if (TimeProvider.System.GetElapsedTime(begun) > limit)
            {
                var last = string.Join(" | ", lines.TakeLast(5));
                throw new TimeoutException(
                    $"The guest did not print '{start}' within {limit.TotalSeconds} seconds; its last lines: {last}.");
            }
        }
    }

    /// <summary>Waits until the guest has acknowledged <paramref name="count"/> more files than it has now.</summary>
    public async Task WaitForWritesAsync(int count, TimeSpan limit, CancellationToken cancellationToken)
    {
        var wanted = Acknowledgement().Count(await ReadAsync(cancellationToken)) + count;
        var begun = TimeProvider.System.GetTimestamp();
        while (Acknowledgement().Count(await ReadAsync(cancellationToken)) < wanted)
        {
            if (TimeProvider.System.GetElapsedTime(begun) > limit)
                throw new TimeoutException($"The guest did not write {count} files within {limit.TotalSeconds} seconds.");
            await Task.Delay(Poll, cancellationToken);
        }
    }

    /// <summary>
    /// The files that a point must hold which was frozen between two positions. <paramref name="after"/> must be taken when the guest has
    /// run for a second since (or has ended), because the line of a deletion may reach the console a little later than it reaches the disk.
    /// </summary>
    public async Task<IReadOnlyList<GuestFile>> FilesAsync(long before, long after, CancellationToken cancellationToken)
    {
        var files = new Dictionary<int, GuestFile>();
        var text = await ReadAsync(cancellationToken, after);
        var at = 0;
        foreach (var line in text.Split('\n')[..^1])
        {
            // Positions count bytes and lines here have no carriage returns: the guest prints none, and only ASCII.
            at += line.Length + 1;
            if (Acknowledgement().Match(line) is { Success: true } ack && at <= before)
            {
                var number = int.Parse(ack.Groups["number"].ValueSpan, CultureInfo.InvariantCulture);
                files[number] = new GuestFile(number, ack.Groups["sum"].Value, ack.Groups["disk"].Value);
            }
            else if (Removal().Match(line) is { Success: true } gone)
            {
                files.Remove(int.Parse(gone.Groups["number"].ValueSpan, CultureInfo.InvariantCulture));
            }
        }

        return [.. files.Values];
    }

    [GeneratedRegex(
        @"^ACK (?<number>\d+) (?<sum>[0-9a-f]{64}) /mnt/(?<disk>\w+)/files$", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 5000)]
    private static partial Regex Acknowledgement();

    [GeneratedRegex(@"^GONE (?<number>\d+)$", RegexOptions.ExplicitCapture, 5000)]
    private static partial Regex Removal();
}
