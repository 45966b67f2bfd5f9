// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// One machine's checkpoint records in one folder, as a file named after the machine's UUID; no name of a machine or checkpoint ever
/// becomes a path. Replaced atomically (write beside, fsync, rename, fsync of the folder), so that a crash at any byte leaves the
/// records before or the records after. In a folder that hosts share each host writes beside under a name of its own: the last one
/// to rename wins, whole.
/// </summary>
/// <param name="folder">The folder; made when something is written.</param>
/// <param name="machineUuid">The machine.</param>
/// <param name="host">Name of this host; null for its own.</param>
public sealed class RecordFile(string folder, string machineUuid, string? host = null)
{
    private const long MostBytes = 64 << 20;

    public string Path { get; } = System.IO.Path.Combine(folder, $"{Guid.Parse(machineUuid):d}.json");

    /// <summary>What the file says; null when there is none.</summary>
    /// <exception cref="EngineException">It is there and says nothing that could be used.</exception>
    public async Task<MachineCheckpoints?> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (stream.Length > MostBytes)
                throw Unusable($"it has {stream.Length} bytes, at most {MostBytes} are expected");
            var content = new byte[stream.Length];
            var length = await stream.ReadAtLeastAsync(content, content.Length, throwOnEndOfStream: false, cancellationToken);
            var found = JsonSerializer.Deserialize(content.AsSpan(0, length), CheckpointJson.Default.MachineCheckpoints)
                ?? throw Unusable("it is empty");
            if (found.Checkpoints.Any(record => record is null || record.Disks.Any(disk => disk is null || disk.Name is null)))
                throw Unusable("a record in it is empty");
            if (found.V > MachineCheckpoints.Version)
                throw Unusable($"it has version {found.V}, this program reads {MachineCheckpoints.Version}");
            if (!Guid.TryParse(found.Machine, out var uuid) || uuid != Guid.Parse(machineUuid))
                throw Unusable($"it is about machine '{found.Machine}'");
            return found;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw Unusable(e.Message.TrimEnd('.'), e);
        }
    }

    /// <summary>Replaces what the file says; nothing is written when it says that already.</summary>
    /// <exception cref="EngineException">It cannot be written; what it said before stands.</exception>
    public void Write(MachineCheckpoints records)
    {
        var content = JsonSerializer.SerializeToUtf8Bytes(records, CheckpointJson.Default.MachineCheckpoints);
        try
        {
            if (File.Exists(Path) && File.ReadAllBytes(Path).AsSpan().SequenceEqual(content))
                return;
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            // The machine's lock keeps other writers of this host away: what a death leaves of it is replaced by the next one.
            var beside = $"{Path}.{HostPart(host ?? Environment.MachineName)}.new";
            using (var stream = new FileStream(beside, FileMode.Create, FileAccess.Write))
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }

            File.Move(beside, Path, overwrite: true);
            FileCalls.SyncFolder(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"Checkpoint records '{Path}' cannot be written: {e.Message}", inner: e);
        }
    }

    /// <summary>What marks a host's working files: no name, which could hold anything.</summary>
    internal static string HostPart(string host) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(host)).AsSpan(0, 4));

    private EngineException Unusable(string why, Exception? inner = null) =>
        EngineException.Failed($"Checkpoint records '{Path}' cannot be used: {why}.", inner: inner);
}
