// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Which blobs of damaged and quarantined packs do not open, and which of them are lost: no other copy is good. Opens the blobs of
/// damaged packs one by one; of one that the store would not read nothing is said, and it is no good copy (I20).
/// </summary>
/// <param name="context">The repository, read afresh.</param>
/// <param name="blobs">Knows the index.</param>
/// <param name="findings">All that a look at everything has found.</param>
/// <param name="keys">What chunks are opened with; only those of a full key can tell damage from another domain's chunk.</param>
/// <param name="isQuick">Another copy counts when its pack is there; else it is opened, where the key allows.</param>
internal sealed class DamageAssessment(
    RepositoryContext context, BlobReader blobs, VerifyFindings findings, DataKeys keys, bool isQuick)
{
    private readonly bool _opensChunks = context.Keys.Role == KeyRole.Full;
    private readonly Dictionary<string, HashSet<BlobId>> _damaged = new(StringComparer.Ordinal);
    private readonly Dictionary<BlobId, IReadOnlyList<string>> _lost = [];

    /// <summary>The blobs that do not open, by pack; all of the pack's when it is gone or can't be opened with this key.</summary>
    public IReadOnlyDictionary<string, HashSet<BlobId>> Damaged => _damaged;

    /// <summary>Packs of which nothing can be said but that all is damaged.</summary>
    public HashSet<string> Whole { get; } = new(StringComparer.Ordinal);

    /// <summary>Blobs without a good copy, and the packs that should hold them.</summary>
    public IReadOnlyDictionary<BlobId, IReadOnlyList<string>> Lost => _lost;

    public async Task RunAsync(IReadOnlyList<string> segments, CancellationToken cancellationToken)
    {
        foreach (var pack in findings.Damage.Keys.Where(key => key.StartsWith(ObjectNames.Packs, StringComparison.Ordinal)))
            BeginFound(pack);
        foreach (var (pack, record) in findings.Recorded)
            BeginRecorded(pack, record);
        await foreach (var (pack, entry) in PackEntries.OfAsync(
            context, segments, _damaged.ContainsKey, findings.AddUnread, cancellationToken))
        {
            if (!_damaged[pack].Contains(entry.Id) && await IsDamagedAsync(pack, entry, cancellationToken))
                _damaged[pack].Add(entry.Id);
        }

        foreach (var (id, pack) in findings.Blobs)
        {
            if (_damaged.TryGetValue(pack, out var damaged))
                damaged.Add(id);
            _lost[id] = [pack];
        }

        var index = await blobs.IndexAsync(cancellationToken);
        foreach (var (pack, ids) in _damaged)
        {
            foreach (var id in ids)
                await JudgeAsync(index, pack, id, cancellationToken);
        }
    }

    /// <summary>A node that turned out unreadable later.</summary>
    public void AddLost(BlobId id, string pack) => _lost[id] = [pack];

    private void BeginFound(string pack)
    {
        _damaged[pack] = [];
        if (!findings.Packs.ContainsKey(pack) || (!_opensChunks && PackName.TryParse(pack) is not { IsData: false }))
            Whole.Add(pack);
    }

    private void BeginRecorded(string pack, QuarantinedPack record)
    {
        if (findings.IsSound(pack) || _damaged.ContainsKey(pack))
            return;
        _damaged[pack] = [.. record.Blobs ?? new HashSet<BlobId>()];
        if (record.Blobs is null && !CanExamine(pack))
            Whole.Add(pack);
    }

    private bool CanExamine(string pack) =>
        !isQuick && findings.Packs.ContainsKey(pack)
        && (_opensChunks || PackName.TryParse(pack) is { IsData: false });

    private async ValueTask<bool> IsDamagedAsync(string pack, IndexEntry entry, CancellationToken cancellationToken)
    {
        if (Whole.Contains(pack))
            return true;
        // A pack known by its record only: where that names blobs, those are the damaged ones.
        var isOpen = findings.Damage.ContainsKey(pack) || findings.Recorded[pack].Blobs is null;
        return isOpen && await BlobProbe.TryOpensAsync(context, keys, pack, entry, findings.AddUnread, cancellationToken) == false;
    }

    private async ValueTask JudgeAsync(RepositoryIndex index, string pack, BlobId id, CancellationToken cancellationToken)
    {
        if (_lost.TryGetValue(id, out var holders))
        {
            if (!holders.Contains(pack, StringComparer.Ordinal))
                _lost[id] = [.. holders, pack];
            return;
        }

        for (var copy = 0; index.Find(in id, copy) is { } found; copy++)
        {
            if (await IsGoodAsync(found.Pack, found.Entry, cancellationToken))
                return;
        }

        _lost[id] = [pack];
    }

    private async ValueTask<bool> IsGoodAsync(IndexedPack pack, IndexEntry entry, CancellationToken cancellationToken)
    {
        var key = pack.Name.Key;
        if (!findings.Packs.TryGetValue(key, out var size) || (_damaged.TryGetValue(key, out var damaged) && damaged.Contains(entry.Id)))
            return false;
        if (isQuick || (entry.Kind == BlobKind.Chunk && !_opensChunks))
            return size == pack.Size;
        return await BlobProbe.TryOpensAsync(context, keys, key, entry, findings.AddUnread, cancellationToken) == true;
    }
}
