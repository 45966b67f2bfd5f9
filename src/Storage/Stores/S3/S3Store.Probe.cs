// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class S3Store
{
    private const int ProbeWriters = 32;

    public async ValueTask ProbeAsync(CancellationToken cancellationToken)
    {
        var key = $"probe/{Guid.NewGuid():N}";
        try
        {
            var winner = await RaceAsync(key, cancellationToken);
            await CheckReadAsync(key, winner, cancellationToken);
            await CheckListingAsync(key, cancellationToken);
            if (await PutIfAbsentAsync(key, new byte[] { byte.MaxValue }, cancellationToken))
                throw Unsuitable("it creates an object that exists already");
        }
        catch (StoreUnsuitableException failure) when (failure.Hint is null)
        {
            throw new StoreUnsuitableException(failure.Message, failure) { Hint = SingleWriterHint };
        }
        finally
        {
            await RemoveProbeAsync(key);
        }
    }

    private const string SingleWriterHint = "another server; or init --allow-single-writer, if one host alone will write here";

    // A create without an answer counts by what the object holds then.
    private async Task<byte> RaceAsync(string key, CancellationToken cancellationToken)
    {
        var results = await Task.WhenAll(Enumerable.Range(0, ProbeWriters).Select(writer => Task.Run(
            () => TryCreateAsync(key, (byte)writer, cancellationToken), cancellationToken)));
        var content = new byte[1];
        await ReadAsync(key, 0, content, cancellationToken);
        var winners = Enumerable.Range(0, ProbeWriters).Where(writer => results[writer] ?? content[0] == writer).ToArray();
        return winners.Length == 1
            ? (byte)winners[0]
            : throw Unsuitable(winners.Length == ProbeWriters
                ? $"it ignores 'If-None-Match: *': all of {ProbeWriters} writers created the same object (is the bucket versioned?)"
                : $"{winners.Length} of {ProbeWriters} writers created the same object; exactly one must");
    }

    private async Task<bool?> TryCreateAsync(string key, byte writer, CancellationToken cancellationToken)
    {
        try
        {
            return await PutIfAbsentAsync(key, new[] { writer }, cancellationToken);
        }
        catch (StoreException failure) when (failure.IsTransient)
        {
            return null;
        }
    }

    private async Task CheckReadAsync(string key, byte winner, CancellationToken cancellationToken)
    {
        var content = new byte[2];
        var read = await ReadAsync(key, 0, content, cancellationToken);
        if (read != 1 || content[0] != winner)
            throw Unsuitable("an object just written does not hold its writer's bytes");
        if (await HeadAsync(key, cancellationToken) is not { Size: 1 })
            throw Unsuitable("an object just written can't be looked up");
    }

    private async Task CheckListingAsync(string key, CancellationToken cancellationToken)
    {
        var listed = 0;
        await foreach (var info in ListAsync("probe/", cancellationToken))
            listed += info.Key == key && info.Size == 1 ? 1 : 0;
        if (listed != 1)
            throw Unsuitable("an object just written is not listed");
    }

    // Whoever may create only leaves it: the prefix does not exist for the format.
    private async Task RemoveProbeAsync(string key)
    {
        try
        {
            await DeleteAsync(key, CancellationToken.None);
        }
        catch (StoreException)
        {
            return;
        }
    }

    private StoreUnsuitableException Unsuitable(string reason) => new($"Bucket '{Description}' can't hold a repository: {reason}.");
}
