// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a run knows once it may begin: steps 1 to 4 of docs/format.md section 9 are done.</summary>
internal sealed record RunStart(
    RunId Id, MachineId Machine, string Key, IndexListing Listing, long Seq, string? Previous, IReadOnlySet<BlobId> Pinned);
