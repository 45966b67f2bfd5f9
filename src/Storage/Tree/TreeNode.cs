// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;

namespace Tidemark.Storage;

/// <summary>
/// A node (docs/format.md section 7): up to 64 children by id, and where each may be found. Built by <see cref="TreeBuilder"/>, immutable
/// once read or stored.
/// </summary>
internal sealed class TreeNode(int level, int chunkLog2)
{
    public const int MaxSize = MaxIdentity + 1 + TreeShape.FanOut * (PackName.Size + HintSize);
    private const int IdentityHeader = 12;
    private const int MaxIdentity = IdentityHeader + TreeShape.FanOut * BlobId.Size;
    private const int HintSize = 8;
    private const byte SamePack = 255;
    private readonly BlobId[] _ids = new BlobId[TreeShape.FanOut];
    private readonly BlobLocation[] _locations = new BlobLocation[TreeShape.FanOut];

    public int Level => level;

    /// <summary>Bit i: child i is there, and not a subtree of zero bytes.</summary>
    public ulong Present { get; private set; }

    public bool Has(int slot) => (Present >> slot & 1) != 0;

    public ref readonly BlobId Id(int slot) => ref _ids[slot];

    public BlobLocation Location(int slot) => _locations[slot];

    public void Set(int slot, in BlobId id, BlobLocation location)
    {
        Present |= 1UL << slot;
        _ids[slot] = id;
        _locations[slot] = location;
    }

    public void Clear(int slot)
    {
        Present &= ~(1UL << slot);
        _ids[slot] = default;
        _locations[slot] = default;
    }

    public void Locate(int slot, BlobLocation location) => _locations[slot] = location;

    public TreeNode Copy()
    {
        var copy = new TreeNode(level, chunkLog2) { Present = Present };
        _ids.CopyTo(copy._ids, 0);
        _locations.CopyTo(copy._locations, 0);
        return copy;
    }

    /// <summary>Id of the node: a hash of what it points to, not of where that lies.</summary>
    public BlobId ComputeId(RepositoryKeys keys)
    {
        Span<byte> identity = stackalloc byte[MaxIdentity];
        return keys.NodeId(identity[..WriteIdentity(identity)]);
    }

    /// <summary>Writes identity and hints; locations without a pack name but with a length are in the pack this node goes to.</summary>
    public int Write(Span<byte> target)
    {
        var length = WriteIdentity(target);
        var packs = new List<PackName>();
        var hints = target[(length + 1)..];
        var count = BitOperations.PopCount(Present);
        Span<byte> entries = stackalloc byte[TreeShape.FanOut * HintSize];
        var entry = 0;
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if (!Has(slot))
                continue;
            var location = _locations[slot];
            var bytes = entries.Slice(entry++ * HintSize, HintSize);
            bytes[0] = PackNumber(packs, location);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[1..], location.Offset);
            WriteUInt24(bytes[5..], location.Length);
        }

        target[length] = (byte)packs.Count;
        for (var i = 0; i < packs.Count; i++)
            packs[i].Write(hints[(i * PackName.Size)..]);
        entries[..(count * HintSize)].CopyTo(hints[(packs.Count * PackName.Size)..]);
        return length + 1 + packs.Count * PackName.Size + count * HintSize;
    }

    /// <summary>Reads a node; null when the bytes are none, or of another level or chunk size (0: of any).</summary>
    public static TreeNode? TryRead(ReadOnlySpan<byte> source, int level, int chunkLog2, PackName? own, out int identityLength)
    {
        identityLength = 0;
        if (source.Length < IdentityHeader || source[0] != 1 || source[1] != level || source[3] != 0
            || (chunkLog2 != 0 && source[2] != chunkLog2))
            return null;
        var present = BinaryPrimitives.ReadUInt64LittleEndian(source[4..]);
        var count = BitOperations.PopCount(present);
        identityLength = IdentityHeader + count * BlobId.Size;
        if (present == 0 || source.Length < identityLength + 1)
            return null;
        var packCount = source[identityLength];
        var table = source[(identityLength + 1)..];
        if (packCount == SamePack || table.Length != packCount * PackName.Size + count * HintSize)
            return null;
        var packs = new PackName[packCount];
        for (var i = 0; i < packCount; i++)
            packs[i] = PackName.Read(table[(i * PackName.Size)..], isData: level == 0);
        var entries = table[(packCount * PackName.Size)..];
        var node = new TreeNode(level, source[2]);
        var index = 0;
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if ((present >> slot & 1) == 0)
                continue;
            var entry = entries.Slice(index * HintSize, HintSize);
            var pack = entry[0] == SamePack ? own : entry[0] >= 1 && entry[0] <= packCount ? packs[entry[0] - 1] : null;
            var location = pack is null
                ? default
                : new BlobLocation(pack, BinaryPrimitives.ReadUInt32LittleEndian(entry[1..]), ReadUInt24(entry[5..]));
            var id = BlobId.From(source[(IdentityHeader + index * BlobId.Size)..]);
            if (id.IsZero)
                return null; // zero bytes are a child that is not present
            node.Set(slot, id, location);
            index++;
        }

        return node;
    }

    private static byte PackNumber(List<PackName> packs, BlobLocation location)
    {
        if (location.Pack is null)
            return location.Length > 0 ? SamePack : (byte)0;
        var number = packs.IndexOf(location.Pack);
        if (number < 0)
        {
            number = packs.Count;
            packs.Add(location.Pack);
        }

        return (byte)(number + 1);
    }

    private int WriteIdentity(Span<byte> target)
    {
        target[0] = 1;
        target[1] = (byte)level;
        target[2] = (byte)chunkLog2;
        target[3] = 0;
        BinaryPrimitives.WriteUInt64LittleEndian(target[4..], Present);
        var length = IdentityHeader;
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if (!Has(slot))
                continue;
            BlobId.AsSpan(in _ids[slot]).CopyTo(target[length..]);
            length += BlobId.Size;
        }

        return length;
    }

    private static void WriteUInt24(Span<byte> target, uint value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(target, (ushort)value);
        target[2] = (byte)(value >> 16);
    }

    private static uint ReadUInt24(ReadOnlySpan<byte> source) => BinaryPrimitives.ReadUInt16LittleEndian(source) | (uint)source[2] << 16;
}
