// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Libvirt.Tests;

/// <summary>Begins pull backups of a lab machine and reads their exports with qemu-img.</summary>
internal sealed class FrozenMachine
{
    private readonly LabMachine _machine;
    private readonly string _folder;
    private readonly string _scratchFolder;
    private int _count;

    internal FrozenMachine(LabMachine machine, string suffix = "", string? scratchFolder = null)
    {
        _machine = machine;
        _folder = machine.Host.CreateFolder($"b-{machine.Name}{suffix}");
        _scratchFolder = scratchFolder ?? _folder;
    }

    private string Socket => Path.Combine(_folder, "nbd.sock");

    internal string ScratchPath(string target) => Path.Combine(_scratchFolder, $"{target}-{_count}.scratch");

    /// <summary>
    /// Takes the given disks, each since a checkpoint or whole, and tracks them from a new checkpoint on when it has a name.
    /// </summary>
    internal Task BeginAsync(string? checkpoint, (string Target, string? Base)[] taken, CancellationToken cancellationToken)
    {
        _count++;
        var disks = _machine.Disks.Select(target =>
        {
            var found = Array.FindIndex(taken, disk => disk.Target == target);
            return found < 0
                ? new BackupDisk(target, null)
                : new BackupDisk(target, new BackupScratch(ScratchPath(target))) { Incremental = taken[found].Base };
        });
        var tracked = _machine.Disks.Select(target => new CheckpointDisk(target, true));
        var checkpointXml = checkpoint == null ? null : CheckpointXml.Write(new CheckpointDescription(checkpoint, [.. tracked]));
        return _machine.Domain.BeginBackupAsync(
            BackupXml.Write(new BackupDescription(Socket, [.. disks])), checkpointXml, cancellationToken: cancellationToken);
    }

    internal async Task<byte[]> ReadExportAsync(string target, CancellationToken cancellationToken)
    {
        var path = Path.Combine(_folder, "export.raw");
        await Tool.RunAsync(
            "qemu-img", ["convert", "-q", "-f", "raw", "-O", "raw", $"nbd+unix:///{target}?socket={Socket}", path], cancellationToken);
        return await File.ReadAllBytesAsync(path, cancellationToken);
    }

    /// <summary>Offset and length of each dirty range.</summary>
    internal async Task<List<(long Offset, long Length)>> ReadDirtyAsync(string target, CancellationToken cancellationToken)
    {
        var options = $"driver=nbd,export={target},server.type=unix,server.path={Socket},x-dirty-bitmap=qemu:dirty-bitmap:backup-{target}";
        var map = await Tool.RunAsync("qemu-img", ["map", "--output=json", "--image-opts", options], cancellationToken);
        using var document = JsonDocument.Parse(map);
        // Through this option qemu-img shows dirty ranges as absent data.
        return
        [
            .. document.RootElement.EnumerateArray()
                .Where(range => !range.GetProperty("data").GetBoolean())
                .Select(range => (range.GetProperty("start").GetInt64(), range.GetProperty("length").GetInt64())),
        ];
    }
}
