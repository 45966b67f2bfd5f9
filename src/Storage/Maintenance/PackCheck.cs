// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>Reads packs from end to end: their hash, or each blob. What it finds goes to the findings.</summary>
/// <param name="context">The repository, read afresh.</param>
/// <param name="findings">Where packs turn out sound, damaged or unread.</param>
/// <param name="advance">Told of bytes read.</param>
internal sealed class PackCheck(RepositoryContext context, VerifyFindings findings, Action<long> advance)
{
    private const int HashBlock = 1 << 20;
    private long _opened;

    /// <summary>Blobs opened so far.</summary>
    public long Opened => Interlocked.Read(ref _opened);

    /// <summary>Opens every blob that these segments know of these packs, whether a point reaches it or not.</summary>
    public async Task OpenAsync(
        IReadOnlyList<string> packs, IReadOnlyList<string> segments, DataKeys keys, CancellationToken cancellationToken)
    {
        var wanted = packs.ToHashSet(StringComparer.Ordinal);
        var options = context.Scheduler.AtOnce(Environment.ProcessorCount, cancellationToken);
        var entries = PackEntries.OfAsync(context, segments, wanted.Contains, findings.AddUnread, cancellationToken);
        await Parallel.ForEachAsync(entries, options, async (entry, token) =>
        {
            Interlocked.Increment(ref _opened);
            if (findings.Damage.ContainsKey(entry.Pack) || findings.Unread.ContainsKey(entry.Pack)
                || await BlobProbe.TryOpensAsync(context, keys, entry.Pack, entry.Entry, findings.AddUnread, token) != false
                || await IsGoneAsync(entry.Pack, token))
                return;
            findings.Add(new RepositoryDamagedException(
                entry.Pack, $"blob '{entry.Entry.Id}' at offset {entry.Entry.Offset}", "bytes that do not open as it"));
        });
    }

    // The look at segments found it there: maintenance deleted it since.
    private async ValueTask<bool> IsGoneAsync(string pack, CancellationToken cancellationToken)
    {
        try
        {
            return await context.Store.HeadAsync(pack, cancellationToken) is null;
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            findings.AddUnread(pack, failure);
            return true;
        }
    }

    /// <summary>Compares the SHA-256 of these packs with their names.</summary>
    public async Task HashAsync(IReadOnlyList<string> packs, CancellationToken cancellationToken)
    {
        var options = context.Scheduler.AtOnce(Environment.ProcessorCount, cancellationToken);
        await Parallel.ForEachAsync(packs, options, async (key, token) =>
        {
            try
            {
                var actual = await HashOfAsync(key, token);
                if (PackName.TryParse(key)?.Hash != actual)
                    findings.Add(new RepositoryDamagedException(key, "bytes with the SHA-256 of its name", $"'{actual}'"));
                else
                    findings.AddSound(key);
            }
            catch (ObjectMissingException)
            {
                return; // deleted by maintenance since it was listed
            }
            catch (StoreException failure) when (!failure.IsTransient)
            {
                findings.AddUnread(key, failure);
            }
        });
    }

    private async Task<BlobId> HashOfAsync(string key, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var block = new byte[HashBlock];
        for (long offset = 0; ;)
        {
            var read = await context.Store.ReadAsync(key, offset, block, cancellationToken);
            hash.AppendData(block, 0, read);
            offset += read;
            advance(read);
            if (read < block.Length)
                return BlobId.From(hash.GetHashAndReset());
        }
    }
}
