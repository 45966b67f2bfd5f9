// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A pack's name (docs/format.md section 3): who wrote it in which run, what it holds, and the SHA-256 of its bytes.</summary>
internal sealed record PackName(WriterId Writer, RunId Run, BlobId Hash, bool IsData)
{
    /// <summary>wid 8 | rid 16 | sha256 32, as nodes and segments hold it.</summary>
    public const int Size = WriterId.Size + 16 + BlobId.Size;

    public string Key => $"{ObjectNames.Packs}{Writer}/{Run}/{(IsData ? 'd' : 'm')}-{Hash}";

    public static PackName Read(ReadOnlySpan<byte> source, bool isData) => new(
        WriterId.From(source), new RunId(new Guid(source.Slice(WriterId.Size, 16), bigEndian: true)), BlobId.From(source[24..]), isData);

    public static PackName? TryParse(string key)
    {
        var parts = key.Split('/');
        if (parts.Length != 4 || parts[0] != "packs" || parts[1].Length != 16 || parts[3].Length != 66 || parts[3][1] != '-'
            || parts[3][0] is not ('d' or 'm') || !RunId.TryParse(parts[2], out var run))
            return null;
        try
        {
            return new PackName(WriterId.Parse(parts[1]), run, BlobId.Parse(parts[3][2..]), parts[3][0] == 'd');
        }
        catch (FormatException)
        {
            return null;
        }
    }

    public void Write(Span<byte> target)
    {
        Writer.Write(target);
        Run.Value.TryWriteBytes(target[WriterId.Size..], bigEndian: true, out _);
        BlobId.AsSpan(Hash).CopyTo(target[24..]);
    }
}

/// <summary>Where a blob lies: a range of a pack.</summary>
internal readonly record struct BlobLocation(PackName? Pack, uint Offset, uint Length)
{
    public bool IsKnown => Pack is not null;
}
