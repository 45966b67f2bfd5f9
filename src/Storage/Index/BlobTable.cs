// SPDX-License-Identifier: Apache-2.0
using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tidemark.Storage;

/// <summary>
/// Ids and where they lie, as one open-addressing hash table: in memory while small, in an unlinked file of the temporary folder once it
/// is large, so that the pages belong to the page cache. Ids are keyed hashes, hence their first bytes are the hash; an id may have
/// several copies. Not thread-safe.
/// </summary>
internal sealed unsafe class BlobTable : IDisposable
{
    private const int FirstCapacity = 1 << 10;
    private const int MemoryCapacity = 1 << 18; // 14 MiB; larger tables are mapped
    private const int FewProbes = 4096; // honest ids need more than n with about e^(-n/27) at 3/4 full; forged ones only lose their place
    private readonly long _maxProbes;
    private Slot[]? _memory;
    private MemoryMappedFile? _file;
    private MemoryMappedViewAccessor? _view;
    private Slot* _mapped;
    private long _capacity;

    /// <param name="keepsAll">Ids that collide cost time, not their place: for a collector, which must not miss any.</param>
    public BlobTable(bool keepsAll = false)
    {
        _maxProbes = keepsAll ? long.MaxValue : FewProbes;
        Allocate(FirstCapacity);
    }

    public long Count { get; private set; }

    /// <summary>Slots; a found slot's number stays valid until the next <see cref="Set"/> or <see cref="Reserve"/>.</summary>
    public long Capacity => _capacity;

    private Span<Slot> this[long slot] =>
        _memory is not null ? _memory.AsSpan((int)slot, 1) : MemoryMarshal.CreateSpan(ref Unsafe.AsRef<Slot>(_mapped + slot), 1);

    /// <summary>The slot of an id's copy, of which <paramref name="skip"/> are passed over, or -1.</summary>
    public long Find(in BlobId id, int skip)
    {
        var slot = (long)(id.Prefix & (ulong)(_capacity - 1));
        for (long probe = 0; probe < _maxProbes; probe++)
        {
            ref var candidate = ref this[slot][0];
            if (candidate.Length == 0)
                return -1;
            if (candidate.Id == id && skip-- == 0)
                return slot;
            slot = (slot + 1) & (_capacity - 1);
        }

        return -1;
    }

    public IndexEntry Get(long slot)
    {
        ref var found = ref this[slot][0];
        return new IndexEntry(
            found.Id, found.Pack, found.Offset, found.Length, found.PlainLength, (BlobKind)found.Kind, (BlobCompression)found.Compression);
    }

    /// <summary>A mark of the caller's on a slot; lost when the table grows.</summary>
    public bool IsMarked(long slot) => this[slot][0].Mark != 0;

    public void Mark(long slot) => this[slot][0].Mark = 1;

    /// <summary>The marks of a slot, for callers with several of their own; lost when the table grows.</summary>
    public ref byte Marks(long slot) => ref this[slot][0].Mark;

    /// <summary>Whether a slot holds an id.</summary>
    public bool IsUsed(long slot) => this[slot][0].Length != 0;

    /// <summary>Adds an id, or another copy of it, one for each pack.</summary>
    public void Set(in IndexEntry entry)
    {
        if (Count >= _capacity / 4 * 3)
            Reserve(_capacity);
        Insert(entry);
    }

    /// <summary>Makes room for this many more ids without growing in between.</summary>
    public void Reserve(long more)
    {
        var wanted = _capacity;
        while (wanted / 4 * 3 < Count + more)
            wanted *= 2;
        if (wanted == _capacity)
            return;
        var (oldMemory, oldFile, oldView, oldCapacity) = (_memory, _file, _view, _capacity);
        var oldMapped = _mapped;
        Allocate(wanted);
        Count = 0;
        for (long slot = 0; slot < oldCapacity; slot++)
        {
            ref var old = ref oldMemory is not null ? ref oldMemory[slot] : ref oldMapped[slot];
            if (old.Length != 0)
                Insert(new IndexEntry(
                    old.Id, old.Pack, old.Offset, old.Length, old.PlainLength, (BlobKind)old.Kind, (BlobCompression)old.Compression));
        }

        Release(oldView, oldFile);
    }

    public void Dispose()
    {
        Release(_view, _file);
        (_view, _file) = (null, null);
        _mapped = null;
    }

    private static void Release(MemoryMappedViewAccessor? view, MemoryMappedFile? file)
    {
        if (view is null)
            return;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        file!.Dispose();
    }

    private void Insert(in IndexEntry entry)
    {
        var slot = (long)(entry.Id.Prefix & (ulong)(_capacity - 1));
        for (long probe = 0; probe < _maxProbes; probe++)
        {
            ref var candidate = ref this[slot][0];
            if (candidate.Length == 0 || (candidate.Id == entry.Id && candidate.Pack == entry.Pack))
            {
                Count += candidate.Length == 0 ? 1 : 0;
                candidate.Id = entry.Id;
                candidate.Pack = entry.Pack;
                candidate.Offset = entry.Offset;
                candidate.Length = entry.Length;
                candidate.PlainLength = entry.PlainLength;
                candidate.Kind = (byte)entry.Kind;
                candidate.Compression = (byte)entry.Compression;
                candidate.Mark = 0;
                return;
            }

            slot = (slot + 1) & (_capacity - 1);
        }
    }

    private void Allocate(long capacity)
    {
        _capacity = capacity;
        if (capacity <= MemoryCapacity)
        {
            _memory = new Slot[capacity];
            return;
        }

        _memory = null;
        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Options = FileOptions.DeleteOnClose,
            PreallocationSize = capacity * sizeof(Slot), // a page that finds no room when it is touched would end the process
        };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var path = Path.Combine(Path.GetTempPath(), $"tidemark-index-{Guid.NewGuid():N}");
        var stream = new FileStream(path, options);
        stream.SetLength(capacity * sizeof(Slot));
        _file = MemoryMappedFile.CreateFromFile(
            stream, null, 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false);
        File.Delete(path); // nothing is left behind, whatever ends the process
        _view = _file.CreateViewAccessor();
        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _mapped = (Slot*)pointer;
    }

    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct Slot
    {
        public BlobId Id;
        public uint Pack;
        public uint Offset;
        public uint Length; // 0: the slot is free
        public uint PlainLength;
        public byte Kind;
        public byte Compression;
        public byte Mark;
    }
}
