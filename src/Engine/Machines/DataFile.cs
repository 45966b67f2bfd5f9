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
}
