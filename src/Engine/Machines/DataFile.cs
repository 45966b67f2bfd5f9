// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Machines;

/// <summary>
/// The external data file of a qcow2 image. The bitmap lies in the image, the bytes it speaks of in this file: each can be replaced or put
/// back without the other. QEMU changes content and time of it all the while, so what can be held against it is another file, a
/// file cut off, and a time that went back, as copying with times kept leaves it. What else others write into it only an audit finds.
/// </summary>
/// <param name="Identity">Which file; null when that cannot be told.</param>
/// <param name="Size">Bytes; 0 for a block device.</param>
/// <param name="Modified">When its content was last changed; the epoch for a block device.</param>
public sealed record DataFile(ImageIdentity? Identity, long Size, DateTimeOffset Modified)
{
    /// <param name="image">Path of the image.</param>
    /// <param name="name">The data file as the image names it: relative to the image's folder, or absolute.</param>
    public static DataFile Read(string image, string name)
    {
        var path = Path.Combine(Path.GetDirectoryName(image) ?? "/", name);
        var identity = ImageIdentity.Read(path);
        var file = new FileInfo(path);
        return identity is null or { Device: "block" } || !file.Exists
            ? new DataFile(identity, 0, DateTimeOffset.UnixEpoch)
            : new DataFile(identity, file.Length, new DateTimeOffset(file.LastWriteTimeUtc, TimeSpan.Zero));
    }

    /// <summary>Why a bitmap that speaks of the one says nothing of the other; null when it may be trusted.</summary>
    /// <param name="before">At the last backup; null for none.</param>
    /// <param name="now">Now; null for none.</param>
    public static string? WhyOther(DataFile? before, DataFile? now) => (before, now) switch
    {
        (null, null) => null,
        (null, _) or (_, null) => "its data is not in the same file as at the last backup, or which that was is not known",
        ({ Identity: null }, _) or (_, { Identity: null }) => "which file its data is in cannot be told, so its bitmap cannot be trusted",
        _ when !before.Identity.IsSameImageAs(now.Identity) =>
            $"another data file is under this disk than at the last backup ('{before.Identity.Path}' before, '{now.Identity.Path}' now)",
        _ when now.Size < before.Size => $"its data file was cut from {before.Size} to {now.Size} bytes since the last backup",
        _ when now.Modified < before.Modified => "its data file is older than at the last backup: it was put back without the image",
        _ => null,
    };
}
