// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Tidemark.Lab.Guests;

/// <summary>
/// Writes an archive that the Linux kernel unpacks as its first file system: cpio, format "newc"
/// (Documentation/driver-api/early-userspace/buffer-format.rst). Every entry belongs to root, whoever runs this.
/// </summary>
internal sealed class CpioArchive(Stream output)
{
    private const int CharacterDevice = 0x2000, Folder = 0x4000, RegularFile = 0x8000, SymbolicLink = 0xA000;
    private readonly HashSet<string> _folders = new(StringComparer.Ordinal);
    private int _lastInode;

    public void AddFile(string path, ReadOnlySpan<byte> content, bool executable = false)
    {
        AddFolder(Path.GetDirectoryName(path) ?? "");
        Add(path, RegularFile | (executable ? 0x1ED : 0x1A4), content);
    }

    public void AddLink(string path, string target)
    {
        AddFolder(Path.GetDirectoryName(path) ?? "");
        Add(path, SymbolicLink | 0x1FF, Encoding.UTF8.GetBytes(target));
    }

    public void AddCharacterDevice(string path, int major, int minor)
    {
        AddFolder(Path.GetDirectoryName(path) ?? "");
        Add(path, CharacterDevice | 0x180, [], major, minor);
    }

    /// <summary>Adds a folder and those above it, once.</summary>
    public void AddFolder(string path)
    {
        if (path.Length == 0 || !_folders.Add(path))
            return;
        AddFolder(Path.GetDirectoryName(path) ?? "");
        Add(path, Folder | 0x1ED, []);
    }

    /// <summary>Ends the archive; the stream stays open.</summary>
    public void Complete() => Add("TRAILER!!!", 0, []);

    // Header: magic, then 13 fields of 8 hexadecimal digits; name with its zero byte and content are each padded to 4 bytes.
    private void Add(string path, int mode, ReadOnlySpan<byte> content, int major = 0, int minor = 0)
    {
        var name = Encoding.UTF8.GetBytes(path + '\0');
        int[] fields = [++_lastInode, mode, 0, 0, 1, 0, content.Length, 0, 0, major, minor, name.Length, 0];
        var header = new StringBuilder("070701");
        foreach (var field in fields)
            header.Append(CultureInfo.InvariantCulture, $"{field:x8}");
        output.Write(Encoding.ASCII.GetBytes(header.ToString()));
        output.Write(name);
        Pad(header.Length + name.Length);
        output.Write(content);
        Pad(content.Length);
    }

    private void Pad(int length) => output.Write(stackalloc byte[(4 - length % 4) % 4]);
}
