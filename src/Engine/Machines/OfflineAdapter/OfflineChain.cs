// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Native;
using Tidemark.Qemu;

namespace Tidemark.Engine.Machines.OfflineAdapter;

/// <summary>One image of a stopped machine's disk.</summary>
/// <param name="File">Where it lies.</param>
/// <param name="DataFile">A qcow2 image's external data file; null when it has none.</param>
/// <param name="Info">What the image says of itself.</param>
internal sealed record OfflineImage(StorageFile File, StorageFile? DataFile, ImageInfo Info)
{
    /// <summary>Somebody wrote to the data file after QEMU closed the image, which it does last.</summary>
    public bool IsDataFileNewer =>
        DataFile is { } data && FileStamp.Read(data.Path).Modified > FileStamp.Read(File.Path).Modified;
}

/// <summary>
/// An image of a stopped machine, and the images below it, as they say of themselves. Reading takes no lock on any of them.
/// </summary>
internal sealed class OfflineChain
{
    private const int MostImages = 200; // as many as libvirt takes

    private OfflineChain(IReadOnlyList<OfflineImage> images) => Images = images;

    /// <summary>The machine's own image first.</summary>
    public IReadOnlyList<OfflineImage> Images { get; }

    public ImageInfo Top => Images[0].Info;

    /// <summary>Every file that the disk's content comes from.</summary>
    public IEnumerable<string> Files => Images.SelectMany(image =>
        image.DataFile is { } data ? (string[])[image.File.Path, data.Path] : [image.File.Path]);

    /// <summary>All that must stay as it is while the chain is read.</summary>
    public string Shape => string.Join('\n', Images.Select(image => string.Create(
        CultureInfo.InvariantCulture,
        $"{image.File} {image.DataFile} {image.Info.Format} {image.Info.VirtualSize} {Text(image.Info.Bitmaps)}")));

    /// <summary>Reads an image and what lies below it.</summary>
    /// <exception cref="UnreadableImageException">This version cannot read it; the message says why, for people.</exception>
    public static async Task<OfflineChain> ReadAsync(string path, string format, CancellationToken cancellationToken)
    {
        var images = new List<OfflineImage>();
        for ((string Path, string Format)? next = (path, format); next is { } here;)
        {
            if (images.Count == MostImages)
                throw new UnreadableImageException($"more than {MostImages} images lie below each other under '{path}'");
            var image = await ReadOneAsync(here.Path, here.Format, cancellationToken);
            images.Add(image);
            next = Below(image);
        }

        return new OfflineChain(images);
    }

    /// <summary>The bitmaps of the machine's own image: one counts only if every image that can have changed since has it, whole.</summary>
    public IReadOnlyDictionary<string, BitmapHealth> Bitmaps()
    {
        var health = new Dictionary<string, BitmapHealth>(StringComparer.Ordinal);
        foreach (var bitmap in Top.Bitmaps)
            health[bitmap.Name] = HealthOf(bitmap.Name);
        return health;
    }

    /// <summary>The images below the machine's own one, the nearest first.</summary>
    public IReadOnlyList<BackingImage> Backing() => Images.Skip(1)
        .Select(image => new BackingImage(
            ImageIdentity.Read(image.File.Path),
            image.Info.VirtualSize,
            image.Info.Bitmaps.ToDictionary(
                bitmap => bitmap.Name, bitmap => Records(bitmap) ? BitmapHealth.Recording : BitmapHealth.Broken, StringComparer.Ordinal)))
        .ToList();

    /// <summary>The images that carry a bitmap: together they know what changed.</summary>
    public IEnumerable<int> With(string bitmap) =>
        Enumerable.Range(0, Images.Count).Where(at => Find(Images[at], bitmap) is not null);

    private BitmapHealth HealthOf(string bitmap)
    {
        var with = With(bitmap).ToList();
        // Contiguous from the top: a gap is an image whose changes nobody noted.
        if (with[^1] != with.Count - 1 || with.Any(at => Find(Images[at], bitmap) is not { } found || !Records(found)))
            return BitmapHealth.Broken;
        return Images.Any(image => image.IsDataFileNewer) ? BitmapHealth.Incomplete : BitmapHealth.Recording;
    }

    private static bool Records(BitmapInfo bitmap) => bitmap is { Records: true, InUse: false };

    private static BitmapInfo? Find(OfflineImage image, string bitmap) => image.Info.Bitmaps.FirstOrDefault(found => found.Name == bitmap);

    private static string Text(IEnumerable<BitmapInfo> bitmaps) =>
        string.Join(' ', bitmaps.Select(bitmap => $"{bitmap.Name} {bitmap.Granularity} {string.Join(' ', bitmap.Flags)}"));

    private static async Task<OfflineImage> ReadOneAsync(string path, string format, CancellationToken cancellationToken)
    {
        if (format is not ("raw" or "qcow2"))
            throw new UnreadableImageException($"images of format {format} are read only while the machine runs");
        try
        {
            var file = Located(path);
            var info = await QemuImg.InfoAsync(ImageRef.File(path, format), cancellationToken, inUse: true);
            if (info.Encrypted)
                throw new UnreadableImageException($"image '{path}' is encrypted, and its key is known only while the machine runs");
            var data = info.DataFile is { } name ? Located(Path.Combine(Path.GetDirectoryName(file.Path)!, name)) : null;
            return new OfflineImage(file, data, info);
        }
        catch (ImageToolException e)
        {
            throw new UnreadableImageException($"image '{path}' cannot be opened: {e.ToolMessage.TrimEnd('.')}");
        }
        catch (IOException e)
        {
            throw new UnreadableImageException(e.Message.TrimEnd('.'));
        }
    }

    private static (string Path, string Format)? Below(OfflineImage image)
    {
        if (image.Info.BackingPath is not { } named)
            return null;
        if (image.Info.FullBackingPath is not { } path || !path.StartsWith('/'))
            throw new UnreadableImageException($"the image below '{image.File.Path}' is no file of this host: '{named}'");
        // QEMU would guess, and what a guest wrote into a raw image can make it guess wrong.
        return (path, image.Info.BackingFormat
            ?? throw new UnreadableImageException($"image '{image.File.Path}' does not say of which format the image below it is"));
    }

    private static StorageFile Located(string path) => new(Path.GetFullPath(path), FileStamp.Read(path).IsDevice);
}

/// <summary>A stopped machine's image that this version cannot read. The message is the end of a sentence.</summary>
internal sealed class UnreadableImageException(string message) : Exception(message);
