// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Tidemark.Storage;

namespace Tidemark.Bench.Rows;

/// <summary>The index of four million chunks: loaded, then asked a million times, in a process of its own.</summary>
internal static class Index
{
    private const int Entries = 4_000_000;
    private const int Lookups = 1_000_000;
    private const int PackBlobs = 512;

    public static async Task RunAsync(Bench bench)
    {
        await bench.InitAsync("index-repo");
        await FillAsync(bench.PathOf("index-repo"), bench.PathOf("key"), bench.Token);
        var run = await bench.ClientAsync("client-index", bench.PathOf("index-repo"), bench.PathOf("key"));
        var numbers = run.Output.Trim().Split(' ').Select(text => double.Parse(text, CultureInfo.InvariantCulture)).ToArray();
        bench.Results.AddTimes($"index of {Entries:N0} chunks: open, {Lookups:N0} lookups", 10, [run]);
        bench.Results.Add(new Result(
            "its memory beyond the page cache", 200, numbers[0] / 1e6, numbers[0] / 1e6, "MB",
            $"open {numbers[1]:0.0} s, lookups {numbers[2]:0.0} s"));
    }

    /// <summary>Prints anonymous bytes, and seconds of opening and of looking up.</summary>
    public static async Task ClientAsync(string folder, string keyFile, CancellationToken cancellationToken)
    {
        await using var store = new FolderStore(folder);
        using var repository = await OpenAsync(store, keyFile, cancellationToken);
        var clock = TimeProvider.System;
        var start = clock.GetTimestamp();
        var listing = await IndexListing.ReadAsync(repository.Context, forWriting: true, cancellationToken);
        using var index = new RepositoryIndex(repository.Context, listing);
        await index.EnsureLoadedAsync(cancellationToken);
        var opened = clock.GetElapsedTime(start);
        start = clock.GetTimestamp();
        var random = new Random(1);
        for (var i = 0; i < Lookups; i++)
        {
            var id = IdOf(random.Next(Entries * 2));
            if (index.Find(in id, 0) is { } found && found.Entry.Id != id)
                throw new InvalidOperationException("The index found another chunk.");
        }

        var looked = clock.GetElapsedTime(start);
        var status = await File.ReadAllLinesAsync("/proc/self/status", cancellationToken);
        var anonymous = status.Single(line => line.StartsWith("RssAnon:", StringComparison.Ordinal));
        var bytes = long.Parse(anonymous.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{bytes} {opened.TotalSeconds} {looked.TotalSeconds}"));
    }

    private static async Task FillAsync(string folder, string keyFile, CancellationToken cancellationToken)
    {
        await using var store = new FolderStore(folder);
        using var repository = await OpenAsync(store, keyFile, cancellationToken);
        var segments = new List<string>();
        var run = RunId.New();
        for (var first = 0; first < Entries; first += StorageLimits.SegmentMaxEntries)
        {
            var packs = new List<IndexedPack>();
            var entries = new List<IndexEntry>();
            for (var number = first; number < Math.Min(Entries, first + StorageLimits.SegmentMaxEntries); number++)
            {
                if (number % PackBlobs == 0 || packs.Count == 0)
                    packs.Add(new IndexedPack(new PackName(repository.Writer, run, IdOf(-number - 1), true), 1 << 26));
                entries.Add(new IndexEntry(
                    IdOf(number), (uint)packs.Count - 1, 0, 1000, 1 << 18, BlobKind.Chunk, BlobCompression.Zstd));
            }

            var plain = IndexSegment.Write(packs, entries);
            var key = ObjectNames.FoldedSegment(1, segments.Count, BlobId.From(SHA256.HashData(plain)));
            await store.PutIfAbsentAsync(key, repository.Context.Close(key, plain), cancellationToken);
            segments.Add(key);
        }

        var index = JsonSerializer.SerializeToUtf8Bytes(
            new CollectedIndexDocument { Segments = segments }, FormatJson.Default.CollectedIndexDocument);
        var record = ObjectNames.Epoch(1, EpochListing.IndexName);
        await store.PutIfAbsentAsync(record, repository.Context.Close(record, index), cancellationToken);
    }

    private static async Task<Repository> OpenAsync(FolderStore store, string keyFile, CancellationToken cancellationToken)
    {
        var credentials = Credentials.FromKeyFile(await File.ReadAllTextAsync(keyFile, cancellationToken));
        return await Repository.OpenAsync(store, credentials, new OpenOptions(), cancellationToken);
    }

    private static BlobId IdOf(int number) => BlobId.From(SHA256.HashData(BitConverter.GetBytes(number)));
}
