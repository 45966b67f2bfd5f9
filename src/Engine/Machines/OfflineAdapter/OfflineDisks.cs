// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines.LibvirtAdapter;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.OfflineAdapter;

/// <summary>Describes the disks of a machine that is off, from their images.</summary>
internal static class OfflineDisks
{
    /// <exception cref="UnreadableImageException">The disk cannot be protected while the machine is off.</exception>
    public static async Task<MachineDisk> DescribeAsync(DiskDescription disk, CancellationToken cancellationToken)
    {
        var path = PathOf(disk);
        var chain = await OfflineChain.ReadAsync(path, disk.Format ?? "raw", cancellationToken);
        RequireSameBelow(disk, chain);
        return new MachineDisk
        {
            Name = disk.Target,
            Kind = disk.Source.Kind == DiskSourceKind.Block ? "block" : "file",
            Format = disk.Format ?? "raw",
            Path = path,
            Serial = disk.Serial,
            Size = chain.Top.VirtualSize,
            Identity = ImageIdentity.Read(path),
            Backing = chain.Backing(),
            DataFile = chain.Images[0].DataFile is { } data ? DataFile.Read(path, data.Path) : null,
            Untrackable = DiskProtection.WhyUntracked(disk.Format, chain.Top.Compat),
            Bitmaps = chain.Bitmaps(),
        };
    }

    private static string PathOf(DiskDescription disk) => disk switch
    {
        { IsEncrypted: true } => throw new UnreadableImageException("encrypted, and its key is known only while the machine runs"),
        { Source.Kind: DiskSourceKind.Network } =>
            throw new UnreadableImageException(
                "on the network, where nobody can tell that it stays as it is; it is read while the machine runs"),
        { Source.Kind: DiskSourceKind.Volume } =>
            throw new UnreadableImageException("a volume of a storage pool, whose file is known only while the machine runs"),
        { IsSlice: true } => throw new UnreadableImageException("a part of an image, which is read only while the machine runs"),
        _ => disk.Source.Path ?? throw new UnreadableImageException("without an image"),
    };

    // The definition may say what lies below an image, and then overrules what the image says.
    private static void RequireSameBelow(DiskDescription disk, OfflineChain chain)
    {
        var images = chain.Images.Select(image => image.File.Path).ToList();
        for (var at = 0; at < disk.DefinedBelow.Count; at++)
        {
            var defined = disk.DefinedBelow[at];
            var found = images.ElementAtOrDefault(at + 1) ?? "";
            if (defined != found)
            {
                throw new UnreadableImageException(
                    $"its definition names '{defined}' below '{images[at]}', and the image names '{found}'");
            }
        }
    }
}
