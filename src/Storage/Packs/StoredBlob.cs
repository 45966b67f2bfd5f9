// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// A blob on its way into a pack of this run: claimed first, then placed, and located once its pack is closed and has a name.
/// Placed by one writer under the pack's gate; readers look only after the pack is closed.
/// </summary>
internal sealed class StoredBlob
{
    private volatile OpenPack? _pack;
    private volatile PackName? _known;

    public uint Offset { get; private set; }

    public uint Length { get; private set; }

    /// <summary>Its pack is durable: <see cref="Location"/> is final.</summary>
    public bool IsDurable => _known is not null || _pack is { Name: not null };

    /// <summary>It has a place in a pack, named or not.</summary>
    public bool IsPlaced => _known is not null || _pack is not null;

    public BlobLocation Location => new(_known ?? _pack?.Name, Offset, Length);

    /// <summary>The place as seen from a node in the same pack: without a name when it is that pack.</summary>
    public BlobLocation LocationWithin(OpenPack pack) => IsIn(pack) ? new BlobLocation(null, Offset, Length) : Location;

    public bool IsIn(OpenPack pack) => ReferenceEquals(pack, _pack);

    /// <summary>For a blob that an earlier run stored.</summary>
    public void PlaceAt(BlobLocation location)
    {
        Offset = location.Offset;
        Length = location.Length;
        _known = location.Pack;
    }

    public void Place(OpenPack pack, uint offset, uint length)
    {
        Offset = offset;
        Length = length;
        _pack = pack;
    }
}
