// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Backup;

/// <summary>What a restore point keeps of a disk's image, and of its data file where it has one; see docs/format.md section 8.</summary>
internal static class ImageDocuments
{
    private const string Data = "data.";

    /// <summary>Null when which image it is cannot be told.</summary>
    public static Dictionary<string, string>? Write(MachineDisk disk)
    {
        var texts = Write(disk.Identity);
        if (texts is not null && disk.DataFile is { } file)
        {
            texts[Data + "size"] = file.Size.ToString(CultureInfo.InvariantCulture);
            texts[Data + "modified"] = file.Modified.ToString("O", CultureInfo.InvariantCulture);
            if (file.Identity is { } data)
                Write(texts, Data, data);
        }

        return texts;
    }

    public static ImageIdentity? ReadImage(IReadOnlyDictionary<string, string>? texts) => texts is null ? null : Read(texts, "");

    public static DataFile? ReadDataFile(IReadOnlyDictionary<string, string>? texts) =>
        texts is not null
        && texts.TryGetValue(Data + "size", out var size)
        && texts.TryGetValue(Data + "modified", out var modified)
        && long.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out var bytes)
        && DateTimeOffset.TryParseExact(modified, "O", CultureInfo.InvariantCulture, DateTimeStyles.None, out var time)
            ? new DataFile(Read(texts, Data), bytes, time)
            : null;

    /// <summary>Null when which image it is cannot be told.</summary>
    public static Dictionary<string, string>? Write(ImageIdentity? identity)
    {
        if (identity is null)
            return null;
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        Write(texts, "", identity);
        return texts;
    }

    private static void Write(Dictionary<string, string> texts, string prefix, ImageIdentity identity)
    {
        texts[prefix + "path"] = identity.Path;
        texts[prefix + "device"] = identity.Device;
        texts[prefix + "inode"] = identity.Inode;
        texts[prefix + "birth"] = identity.Birth;
    }

    private static ImageIdentity? Read(IReadOnlyDictionary<string, string> texts, string prefix) =>
        texts.TryGetValue(prefix + "path", out var path)
        && texts.TryGetValue(prefix + "device", out var device)
        && texts.TryGetValue(prefix + "inode", out var inode)
        && texts.TryGetValue(prefix + "birth", out var birth)
            ? new ImageIdentity(path, device, inode, birth)
            : null;
}
