// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Which disks can be part of a frozen point, and which can carry a bitmap.</summary>
internal static class DiskProtection
{
    /// <summary>Why a disk is left out; null when it can be protected.</summary>
    public static string? WhyNot(DiskDescription disk) => disk switch
    {
        { Device: DiskDevice.Cdrom } => "a CD-ROM drive",
        { Device: DiskDevice.Floppy } => "a floppy drive",
        { Device: DiskDevice.Lun } => "passed through to the guest as a SCSI LUN; back it up inside the guest",
        { Device: DiskDevice.Unknown } => "a kind of device this version does not know",
        { Source.Kind: DiskSourceKind.None } => "empty",
        { Source.Kind: DiskSourceKind.Folder } => "a folder shown as a disk",
        { Source.Kind: DiskSourceKind.Unknown } => "its source is of a kind this version does not know",
        // With one of these in the transaction libvirtd can crash after an earlier disk was prepared.
        { IsShareable: true } => "shared between machines, so no single machine can freeze it",
        { IsTransient: true } => "transient: its changes are thrown away when the machine stops",
        { IsReadOnly: true } => "read-only",
        _ => null,
    };

    /// <summary>A drive whose media come and go, or that is empty: nobody misses it in a backup.</summary>
    public static bool IsForMedia(DiskDescription disk) =>
        disk.Device is DiskDevice.Cdrom or DiskDevice.Floppy || disk.Source.Kind == DiskSourceKind.None;

    /// <summary>Why a disk cannot carry a bitmap; null when it can.</summary>
    /// <param name="format">Format of its image; null counts as raw.</param>
    /// <param name="compat">qcow2 version as QEMU says it; null when unknown.</param>
    public static string? WhyUntracked(string? format, string? compat) => format switch
    {
        "qcow2" when compat == "0.10" =>
            "its qcow2 image is version 2, which cannot carry a bitmap (qemu-img amend -o compat=1.1 mends that while the machine is off)",
        "qcow2" => null,
        null or "raw" => "raw images cannot carry a bitmap",
        var other => $"images of format {other} cannot carry a bitmap",
    };
}
